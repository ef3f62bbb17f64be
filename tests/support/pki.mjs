// A throwaway PKI, made with the openssl program: one CA for servers, one for the webhook's
// clients, and one that nobody trusts. All keys are EC P-256.
import { execFile } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

// `openssl ca`, because it alone can set both dates with the OpenSSL of Debian 12.
const caConfig = (dir) => `
[ca]
default_ca = here
[here]
database = ${dir}/index.txt
new_certs_dir = ${dir}
default_md = sha256
default_days = 30
policy = any
unique_subject = no
rand_serial = yes
email_in_dn = no
[any]
commonName = optional
organizationName = optional
[req]
distinguished_name = none
prompt = no
[none]
`;

const stamp = (date) => `${date.toISOString().slice(2, 19).replace(/[-T:]/g, '')}Z`;
const day = 24 * 3600 * 1000;

class Authority {
  constructor(dir, name) {
    this.dir = path.join(dir, name);
    this.name = name;
    this.certFile = path.join(this.dir, 'ca.pem');
    this.keyFile = path.join(this.dir, 'ca.key');
    this.configFile = path.join(this.dir, 'openssl.cnf');
  }

  async load() {
    if (!await this.#isGood()) {
      await rm(this.dir, { recursive: true, force: true });
      await mkdir(this.dir, { recursive: true });
      await this.#make();
    }
    this.cert = await readFile(this.certFile, 'utf8');
  }

  /** deploy/demo keeps its PKI between runs, longer perhaps than the certificates live. */
  async #isGood() {
    if (!existsSync(this.certFile)) return false;
    const { validTo } = new X509Certificate(await readFile(this.certFile));
    return new Date(validTo) > new Date(Date.now() + day);
  }

  async #make() {
    await writeFile(this.configFile, caConfig(this.dir));
    await writeFile(path.join(this.dir, 'index.txt'), '');
    await run('openssl', ['req', '-x509', '-config', this.configFile, '-newkey', 'ec',
      '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', `/CN=Postern tests, ${this.name}`,
      '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
      '-keyout', this.keyFile, '-out', this.certFile]);
  }

  /**
   * A certificate {cert, key, certFile, keyFile}; read from disk when it was made before.
   *   cn, organization, san (as openssl writes it: 'DNS:a,IP:127.0.0.1'), eku ('serverAuth', 'clientAuth')
   *   notBefore, notAfter  Dates
   */
  async issue(name, { cn = name, organization, san, eku, notBefore, notAfter }) {
    const file = (suffix) => path.join(this.dir, `${name}.${suffix}`);
    const subject = (organization ? `/O=${organization}` : '') + (cn ? `/CN=${cn}` : '') || '/';
    if (!existsSync(file('pem'))) {
      const extensions = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature'];
      if (eku) extensions.push(`extendedKeyUsage=${eku}`);
      if (san) extensions.push(`subjectAltName=${san}`);
      await writeFile(file('ext'), `${extensions.join('\n')}\n`);
      await run('openssl', ['req', '-new', '-config', this.configFile, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
        '-nodes', '-subj', subject, '-keyout', file('key'), '-out', file('csr')]);
      await run('openssl', ['ca', '-batch', '-notext', '-config', this.configFile, '-cert', this.certFile, '-keyfile', this.keyFile,
        '-startdate', stamp(notBefore ?? new Date(Date.now() - day / 24)), '-enddate', stamp(notAfter ?? new Date(Date.now() + 30 * day)),
        '-extfile', file('ext'), '-in', file('csr'), '-out', file('pem')]);
    }
    return {
      certFile: file('pem'),
      keyFile: file('key'),
      cert: await readFile(file('pem'), 'utf8'),
      key: await readFile(file('key'), 'utf8'),
    };
  }
}

/**
 * The PKI in `dir`, made there on first use and re-used afterwards.
 *   serverCa, clientCa, otherCa
 *   portal, webhook, okta                 server certificates
 *   clients.{apiserver, …}                client certificates, good and bad
 */
export async function makePki(dir) {
  const [serverCa, clientCa, otherCa] = ['server-ca', 'client-ca', 'other-ca'].map((name) => new Authority(dir, name));
  for (const ca of [serverCa, clientCa, otherCa]) await ca.load();

  const loopback = { san: 'DNS:localhost,IP:127.0.0.1', eku: 'serverAuth' };
  const longAgo = { notBefore: new Date(Date.now() - 20 * day), notAfter: new Date(Date.now() - 10 * day) };
  const apiserver = { cn: 'kube-apiserver', eku: 'clientAuth' };
  return {
    dir,
    serverCa,
    clientCa,
    otherCa,
    // Apps and portal share a parent domain, as they do in companies: that makes them "same site" to a browser.
    portal: await serverCa.issue('portal', { ...loopback, san: `${loopback.san},DNS:*.k8s.example.test` }),
    webhook: await serverCa.issue('webhook', loopback),
    okta: await serverCa.issue('okta', loopback),
    expiredServer: await serverCa.issue('expired-server', { ...loopback, ...longAgo }),
    clients: {
      apiserver: await clientCa.issue('kube-apiserver', apiserver),
      dnsName: await clientCa.issue('dns-name', { cn: 'ignored', san: 'DNS:kube-apiserver', eku: 'clientAuth' }),
      uriName: await clientCa.issue('uri-name', { cn: 'ignored', san: 'URI:spiffe://example.test/kube-apiserver', eku: 'clientAuth' }),
      otherCluster: await clientCa.issue('other-cluster', { cn: 'kube-apiserver.staging', eku: 'clientAuth' }),
      wrongName: await clientCa.issue('wrong-name', { cn: 'somebody-else', eku: 'clientAuth' }),
      // The right name where it does not count: organisation, or a CN beside a DNS name.
      nameInOrganization: await clientCa.issue('name-in-o', { cn: 'somebody-else', organization: 'kube-apiserver', eku: 'clientAuth' }),
      nameHiddenBySan: await clientCa.issue('name-hidden', { cn: 'kube-apiserver', san: 'DNS:somebody-else', eku: 'clientAuth' }),
      expired: await clientCa.issue('expired-client', { ...apiserver, ...longAgo }),
      serverOnly: await clientCa.issue('server-only', { cn: 'kube-apiserver', eku: 'serverAuth' }),
      wrongCa: await otherCa.issue('kube-apiserver', apiserver),
    },
  };
}

/** A certificate that signs itself, as Kubernetes Dashboard 2 makes one: {cert, key, certFile, keyFile}. */
export async function makeSelfSigned(dir, name) {
  const [certFile, keyFile] = ['pem', 'key'].map((suffix) => path.join(dir, `${name}.${suffix}`));
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', keyFile, '-out', certFile]);
  return { certFile, keyFile, cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') };
}

/** A Kubernetes cluster's own CA and its API server's certificate, for tests that have one. */
export async function makeClusterPki(dir) {
  const ca = new Authority(dir, 'cluster-ca');
  await ca.load();
  return { ca, apiserver: await ca.issue('apiserver', { san: 'DNS:localhost,IP:127.0.0.1', eku: 'serverAuth' }) };
}

/** What Chromium's --ignore-certificate-errors-spki-list wants, to trust one certificate and no other. */
export function publicKeyPin(pem) {
  const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64');
}
