// What Postern's proxy costs beside h2o's own reverse proxy handler: the same listener, one worker each, TLS 1.3 and
// kept HTTP/1.1 connections on both sides, the upstream's certificate checked, the same cheap upstream. Each server
// has a processor of its own where there are two, load and upstream the other one: the proxy is what is busy.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { freePorts } from '../support/config.mjs';
import { makeClusterPki } from '../support/pki.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';
import { binary, cpuUs, median, rssMib } from './figures.mjs';

const run = promisify(execFile);
const connections = 32;
const answerBytes = 2048; // a small object
const gigabyte = 1 << 30;

async function pin(pid, processor) {
  if (availableParallelism() > 1) await run('taskset', ['-a', '-c', '-p', String(processor), String(pid)]);
}

async function startServer(name, args, processor) {
  const [port] = await freePorts(1);
  const child = spawn(binary(`tests/bench/bench_${name}`), [`127.0.0.1:${port}`, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve, reject) => { child.stdout.once('data', resolve); child.once('exit', reject); });
  await pin(child.pid, processor);
  process.once('exit', () => child.kill('SIGTERM'));
  return { pid: child.pid, url: `https://127.0.0.1:${port}`, port, stop: () => child.kill('SIGTERM') };
}

/** Postern with two clusters in front of the same upstream, told apart by their host. */
async function startPostern(upstream, clusterCa) {
  const [port] = await freePorts(1);
  const tokenFile = path.join(tempDir(), 'token');
  writeFileSync(tokenFile, `${'x'.repeat(900)}\n`, { mode: 0o600 });
  const api = { upstream: upstream.url, certificate_authority_file: clusterCa.certFile };
  const world = await startWorld({
    binary: binary('postern'),
    change: (config) => {
      config.log.level = 'info';
      config.workers = 1;
      config.tokens.lifetime = '1h';
      config.portal.certificate_authority_file = config.oidc.certificate_authority_file;
      config.proxy = { listen: `127.0.0.1:${port}`, tls: config.portal.tls };
      const [cluster] = config.clusters;
      config.clusters = [
        { ...cluster, api: { ...api, url: `https://127.0.0.1:${port}`, mode: 'pass' } },
        { ...cluster, name: 'managed', audience: 'managed', client_names: ['managed'],
          api: { ...api, url: `https://managed.test:${port}`, mode: 'impersonate', service_account_token_file: tokenFile } },
      ];
    },
  });
  await pin(world.postern.process.pid, 0);
  const ada = await world.signIn('ada');
  const target = async (cluster, host) => ({ pid: world.postern.process.pid, url: `https://${host}:${port}`, port, token: (await getToken(ada, cluster)).id_token });
  return { world, pass: await target('kubernetes', '127.0.0.1'), impersonate: await target('managed', 'managed.test') };
}

const objectPath = `/api/v1/namespaces/default/pods/web-0?bytes=${answerBytes}`;
const headersOf = ({ token }) => ['Accept: application/json', 'User-Agent: kubectl/v1.35.0 (linux/amd64) kubernetes/abcdef0',
  ...(token ? [`Authorization: Bearer ${token}`] : [])].flatMap((header) => ['-H', header]);

async function load(target, count) {
  const before = cpuUs(target.pid);
  const { stdout } = await run('taskset', ['-c', availableParallelism() > 1 ? '1' : '0', 'h2load', '--h1', '-n', String(count), '-c', String(connections), '-t', '1',
    `--connect-to=127.0.0.1:${target.port}`, ...headersOf(target), target.url + objectPath]);
  assert.match(stdout, new RegExp(`status codes: ${count} 2xx`), stdout);
  return { rate: Number(/([\d.]+) req\/s/.exec(stdout)[1]), cpu_us: (cpuUs(target.pid) - before) / count };
}

async function curl(target, location, ...more) {
  const { stdout } = await run('curl', ['-s', '--http1.1', '-k', ...headersOf(target), ...more, target.url + location]);
  return stdout;
}

/** MiB a second that one client gets of one answer, and the proxy's CPU for a MiB. */
async function fetchMuch(target, bytes) {
  const before = cpuUs(target.pid);
  const told = await curl(target, `/api/v1/log?bytes=${bytes}`, '-o', '/dev/null', '-w', '%{http_code} %{size_download} %{time_total}');
  const [status, received, seconds] = told.split(' ').map(Number);
  assert.deepEqual([status, received], [200, bytes]);
  return { mib_s: bytes / 2 ** 20 / seconds, cpu_us_mib: (cpuUs(target.pid) - before) / (bytes / 2 ** 20) };
}

/** The plain proxy is one to be told against only if it checks certificates and keeps connections. */
async function checkPlain(plain, upstream, pki, otherCa) {
  const fooled = await startServer('plain_proxy', [pki.portal.certFile, pki.portal.keyFile, upstream.url, otherCa.certFile], 0);
  assert.equal(await curl(fooled, objectPath, '-o', '/dev/null', '-w', '%{http_code}'), '502');
  fooled.stop();
  const before = Number(await curl(upstream, '/handshakes'));
  await load(plain, 2000);
  assert.ok(Number(await curl(upstream, '/handshakes')) - before <= connections + 1, 'the plain proxy keeps no connections');
}

async function rounds(targets, count, measure) {
  const samples = Object.fromEntries(Object.keys(targets).map((name) => [name, []]));
  for (let i = 0; i < count; i += 1) {
    for (const [name, target] of Object.entries(targets)) samples[name].push(await measure(target));
  }
  return (name, figure) => median(samples[name].map((sample) => sample[figure]));
}

async function measureRequests(targets, count, requests) {
  const of = await rounds(targets, count, (target) => load(target, requests));
  const row = (name) => {
    const figures = { rate: of(name, 'rate'), cpu_us: of(name, 'cpu_us') };
    return { ...figures, ratio_to_plain_proxy: of('plain', 'cpu_us') / figures.cpu_us, rate_to_plain_proxy: figures.rate / of('plain', 'rate') };
  };
  return { plain_proxy: row('plain'), proxy_pass: row('pass'), proxy_impersonate: row('impersonate') };
}

async function measureThroughput(targets, count, bytes) {
  const of = await rounds(targets, count, (target) => fetchMuch(target, bytes));
  const row = (name) => ({ mib_s: of(name, 'mib_s'), cpu_us_mib: of(name, 'cpu_us_mib'), ratio_to_direct: of(name, 'mib_s') / of('direct', 'mib_s') });
  const plain = row('plain');
  return { throughput_plain_proxy: plain, throughput_pass: { ...row('pass'), ratio_to_plain_proxy: of('pass', 'mib_s') / plain.mib_s } };
}

/** Rows for the result: plain_proxy, proxy_pass, proxy_impersonate, throughput_plain_proxy, throughput_pass. */
export async function measureProxies({ quick }) {
  const { ca: clusterCa, apiserver } = await makeClusterPki(tempDir());
  const upstream = await startServer('upstream', [apiserver.certFile, apiserver.keyFile], 1);
  const { world, pass, impersonate } = await startPostern(upstream, clusterCa);
  const { pki } = world;
  const plain = await startServer('plain_proxy', [pki.portal.certFile, pki.portal.keyFile, upstream.url, clusterCa.certFile], 0);
  await checkPlain(plain, upstream, pki, pki.otherCa);
  const before = Number(await curl(upstream, '/handshakes'));
  const result = await measureRequests({ plain, pass, impersonate }, quick ? 3 : 9, quick ? 5000 : 20000);
  result.proxy_pass.upstream_handshakes = Number(await curl(upstream, '/handshakes')) - before;
  Object.assign(result, await measureThroughput({ direct: upstream, plain, pass }, quick ? 1 : 5, quick ? gigabyte / 8 : gigabyte));
  result.throughput_pass.rss_mib = rssMib(pass.pid);
  plain.stop();
  upstream.stop();
  await world.close();
  return result;
}
