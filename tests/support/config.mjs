// A working configuration of Postern for one machine: files in a directory, and the YAML's data.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';

import { toYaml } from './yaml.mjs';

/** Ports that are free now. All are taken before one is given back, so they differ. */
export async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => { server.close(resolve); })));
  return ports;
}

/**
 * The configuration as data, with its secret files written into `dir` (kept when they are there).
 *   ports   {portal, webhook, operations, proxy}
 *   pki     of makePki()
 *   okta    {issuer, clientId, clientSecret} of a stand-in
 *   host    the portal's
 *   change  a function that alters the data before it is used
 */
export async function makeConfig({ dir, ports, pki, okta, host = 'localhost', change = () => {} }) {
  await mkdir(path.join(dir, 'keys'), { recursive: true, mode: 0o700 });
  const secretFile = path.join(dir, 'okta-client-secret');
  await writeFile(secretFile, `${okta.clientSecret}\n`, { mode: 0o600 });
  const sealKeyFile = path.join(dir, 'seal.key');
  if (!existsSync(sealKeyFile)) await writeFile(sealKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });

  const config = {
    portal: {
      url: `https://${host}:${ports.portal}`,
      listen: `127.0.0.1:${ports.portal}`,
      tls: { certificate_file: pki.portal.certFile, key_file: pki.portal.keyFile },
      links: [{ label: 'Kubernetes documentation', url: 'https://kubernetes.io/docs/', groups: [] }],
    },
    webhook: {
      listen: `127.0.0.1:${ports.webhook}`,
      tls: { certificate_file: pki.webhook.certFile, key_file: pki.webhook.keyFile, client_ca_file: pki.clientCa.certFile },
    },
    operations: { listen: `127.0.0.1:${ports.operations}` },
    oidc: {
      issuer: okta.issuer,
      client_id: okta.clientId,
      client_secret_file: secretFile,
      certificate_authority_file: pki.serverCa.certFile,
      scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
    },
    users: { groups_include: ['^k8s-'] },
    identity: {},
    tokens: { keys_directory: path.join(dir, 'keys') },
    store: { kind: 'sqlite', path: path.join(dir, 'postern.db'), seal_key_files: [sealKeyFile] },
    log: { level: 'debug' },
    clusters: [{
      name: 'kubernetes',
      server: 'https://10.0.0.1:6443',
      audience: 'kubernetes',
      client_names: ['kube-apiserver'],
    }],
  };
  change(config, ports);
  // An empty mapping is no YAML in block style.
  for (const [key, value] of Object.entries(config)) {
    if (value && typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0) delete config[key];
  }
  return config;
}

export async function writeConfig(file, config) {
  await writeFile(file, toYaml(config));
  return file;
}
