// Starts the demo: Okta stand-in, throwaway PKI, a cluster's stand-in, Postern. With --check it also plays the person.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';

import { freePorts } from '../../tests/support/config.mjs';
import { startOkta } from '../../tests/support/okta.mjs';
import { samplePassword } from '../../tests/support/people.mjs';
import { makePki } from '../../tests/support/pki.mjs';
import { preparePostern } from '../../tests/support/postern.mjs';
import { check } from './check.mjs';
import { startCluster } from './cluster.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const checking = process.argv.includes('--check');
const state = path.join(root, checking ? 'build/demo-check' : 'build/demo');
const shown = (file) => path.relative(process.cwd(), file) || '.';

const usualPorts = { portal: 8443, webhook: 9443, operations: 9090, okta: 8444, proxy: 8445 };

async function demoPorts() {
  const names = Object.keys(usualPorts);
  const ports = checking ? await freePorts(names.length) : names.map((name) => Number(process.env[`${name.toUpperCase()}_PORT`] ?? usualPorts[name]));
  return Object.fromEntries(names.map((name, i) => [name, ports[i]]));
}

/** The three files that the README's curl line names, apart from the CAs' own directories. */
async function callerFiles(pki) {
  const { certFile, keyFile } = pki.clients.apiserver;
  const files = { ca: 'ca.crt', certificate: 'kube-apiserver.crt', key: 'kube-apiserver.key' };
  const from = { ca: pki.serverCa.certFile, certificate: certFile, key: keyFile };
  for (const [name, file] of Object.entries(files)) {
    files[name] = path.join(pki.dir, file);
    await copyFile(from[name], files[name]);
  }
  return files;
}

/** What an earlier run left is used again, so that certificates and sessions survive a restart. */
async function start() {
  if (checking) await rm(state, { recursive: true, force: true });
  await mkdir(state, { recursive: true });
  const pki = await makePki(path.join(state, 'pki'));
  const ports = await demoPorts();
  const secretFile = path.join(state, 'okta-client-secret');
  const okta = await startOkta({
    port: ports.okta,
    tls: pki.okta,
    portal: `https://localhost:${ports.portal}`,
    clientSecret: existsSync(secretFile) ? (await readFile(secretFile, 'utf8')).trim() : randomBytes(32).toString('base64url'),
  });
  const cluster = await startCluster({ pki, ports });
  const postern = await preparePostern({
    dir: state,
    pki,
    okta,
    ports,
    logFile: path.join(state, 'postern.log'),
    // Ctrl-C reaches the demo alone, which then ends postern in order.
    command: ['setsid'],
    change: (config) => {
      config.log.level = 'info';
      cluster.configure(config);
    },
  });
  return { pki, okta, cluster, postern, caller: await callerFiles(pki), reviewUrl: `${postern.webhookUrl}/tokenreview/kubernetes` };
}

/** curl's arguments for asking the webhook about a token as an API server does. */
function reviewArguments({ caller, reviewUrl }, token) {
  return ['--http2', '--cacert', shown(caller.ca), '--cert', shown(caller.certificate), '--key', shown(caller.key),
    '--header', 'Content-Type: application/json',
    '--data', `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"${token}"}}`,
    reviewUrl];
}

function explain(demo) {
  const args = reviewArguments(demo, "'$TOKEN'").map((arg) => (/[ {]/.test(arg) ? `'${arg}'` : arg));
  const curl = `curl ${args.join(' ')}`.replaceAll(' --', ' \\\n       --').replace(/ (https:\S+)$/, ' \\\n       $1');
  const people = demo.okta.users.map((p) => `    ${p.login.split('@')[0].padEnd(8)} ${p.about}`).join('\n');
  return `
Postern is up:  ${demo.postern.url}

The certificates are the demo's own: let your browser go on in spite of its warning, or trust
${shown(demo.caller.ca)} for as long as you like.

1. Open the address, choose "Sign in with Okta", and be one of these people (password: ${samplePassword}):
${people}
2. The badge "Headlamp" on the home page opens a dashboard behind the proxy (a stand-in, and so is its
   cluster), as the same person with the same groups.
3. "Set up kubectl" has a token, and a command to paste. The first line keeps it out of your own kubeconfig:

     export KUBECONFIG=${shown(path.join(state, 'kubeconfig'))}
     ...the command...
     kubectl get pods

4. Ask the webhook about the token, as the cluster's API server would:

     TOKEN=...the token...
     ${curl}

   Sign out: the dashboard is gone, and the same token is refused.

Metrics:  ${demo.postern.operationsUrl}/metrics
Log:      ${shown(path.join(state, 'postern.log'))}
Config:   ${shown(demo.postern.configFile)}

Ctrl-C ends the demo.
`;
}

async function stop({ okta, cluster, postern }) {
  try {
    await postern.stop();
  } finally {
    await Promise.all([cluster.close(), okta.close()]);
  }
}

async function runUntilInterrupted(demo) {
  console.log(explain(demo));
  const interrupted = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => resolve());
  });
  const ended = demo.postern.process.exit.then(({ code, signal }) => {
    throw new Error(`postern ended by itself (${code ?? signal}): see ${shown(path.join(state, 'postern.log'))}`);
  });
  await Promise.race([interrupted, ended]);
}

async function main() {
  const demo = await start();
  try {
    await demo.postern.start();
    if (checking) await check(demo, (token) => reviewArguments(demo, token));
    else await runUntilInterrupted(demo);
  } finally {
    await stop(demo);
  }
}

try {
  await main();
  if (checking) console.log('The demo works.');
} catch (error) {
  console.error(`deploy/demo: ${stripVTControlCharacters(error.message)}`);
  process.exitCode = 1;
}
