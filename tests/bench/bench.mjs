// Figures are ratios: every scenario is told against the bare handler of the same run. Rounds are
// interleaved, and each figure is the median of its rounds.
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { SignJWT, importPKCS8 } from 'jose';

import { freePorts } from '../support/config.mjs';
import { tokenReview } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken } from '../support/sign_in.mjs';
import { binary, cpuUs, median, rssMib } from './figures.mjs';
import { measureProxies } from './proxies.mjs';

const run = promisify(execFile);
const quick = process.argv.includes('--quick');
const rounds = quick ? 3 : 7;
const requests = quick ? 3000 : 15000;
const out = path.resolve('build/bench');

mkdirSync(out, { recursive: true });

async function startBare(pki, bytes) {
  const [port] = await freePorts(1);
  const child = spawn(binary('tests/bench/bench_bare'), [`127.0.0.1:${port}`, pki.webhook.certFile, pki.webhook.keyFile, pki.clientCa.certFile, String(bytes)],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve, reject) => { child.stdout.once('data', resolve); child.once('exit', reject); });
  return { pid: child.pid, url: `https://127.0.0.1:${port}/tokenreview/kubernetes`, stop: () => child.kill('SIGTERM') };
}

/** One bounded load: what the client saw, and the server's CPU per request. */
async function load(pki, { url, pid }, bodiesFile, count = requests, { streams = 10, connections = 4, form = false } = {}) {
  const before = cpuUs(pid);
  const { apiserver } = pki.clients;
  const { stdout } = await run(binary('tests/bench/bench_load'), ['--url', url, '--ca', pki.serverCa.certFile, '--cert', apiserver.certFile, '--key', apiserver.keyFile,
    '--bodies', bodiesFile, '--requests', String(count), '--streams', String(streams), '--connections', String(connections),
    ...(form ? ['--form'] : [])], { maxBuffer: 1 << 20 });
  const [summary, answer] = stdout.split('\n');
  return { ...JSON.parse(summary), cpu_us: (cpuUs(pid) - before) / count, answer };
}

function bodies(name, tokens) {
  const file = path.join(out, `${name}.bodies`);
  writeFileSync(file, tokens.map((token) => `${JSON.stringify(tokenReview(token))}\n`).join(''), { mode: 0o600 });
  return file;
}

/** Forms that refresh a kubeconfig session, as kubectl's second try sends them. */
function refreshBodies(refreshToken) {
  const file = path.join(out, 'refresh.bodies');
  writeFileSync(file, `${new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'kubernetes' })}\n`, { mode: 0o600 });
  return file;
}

/** CPU that one ES256 signature costs the same libcrypto, in microseconds. */
async function rawSigningUs() {
  const { stdout } = await run('openssl', ['speed', '-mr', '-seconds', '1', 'ecdsap256']);
  return 1e6 / Number(/^\+F\d+:\d+:256:([\d.]+)/m.exec(stdout)[1]); // signatures a second of CPU time
}

/** Tokens as Postern issues them, each never seen before: signed with the ring's own key. */
async function freshTokens(dir, like, count) {
  const file = readdirSync(dir).find((name) => name.endsWith('.json'));
  const { kid, private_key: pem } = JSON.parse(readFileSync(path.join(dir, file), 'utf8'));
  const key = await importPKCS8(pem, 'ES256');
  const claims = JSON.parse(Buffer.from(like.split('.')[1], 'base64url'));
  return Promise.all(Array.from({ length: count }, (_, i) =>
    new SignJWT({ ...claims, jti: `bench-${i}`, exp: claims.iat + 3600 }).setProtectedHeader({ alg: 'ES256', kid, typ: 'JWT' }).sign(key)));
}

function flipSignature(token) {
  const at = token.length - 40;
  return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
}

function summary(samples, bare) {
  const pick = (key) => median(samples.map((s) => s[key]));
  const figures = { rate: pick('rate'), cpu_us: pick('cpu_us'), p50_us: pick('p50_us'), p99_us: pick('p99_us') };
  return { ...figures, ratio_to_bare: bare ? figures.cpu_us / bare.cpu_us : 1, failed: samples.reduce((n, s) => n + s.failed, 0) };
}

async function timeToReady(world) {
  const times = [];
  for (let i = 0; i < rounds; i += 1) {
    await world.postern.stop();
    const began = performance.now();
    world.postern.start().catch(() => {});
    await new Promise((resolve) => { setImmediate(resolve); });
    await world.postern.logLine((r) => r.message === 'ready');
    times.push(performance.now() - began);
  }
  return median(times);
}

function forLoad(config) {
  config.log.level = 'info';
  config.workers = 1;
  config.tokens.lifetime = '1h';
}

async function measureWebhook() {
  const world = await startWorld({ binary: binary('postern'), change: forLoad });
  const { pki, postern } = world;
  const idleRss = rssMib(postern.process.pid);
  const readyMs = await timeToReady(world);

  const ada = await world.signIn('ada');
  const { id_token: token, refresh_token: refreshToken } = await getToken(ada);
  const target = { url: `${postern.webhookUrl}/tokenreview/kubernetes`, pid: postern.process.pid };
  const first = (await run('curl', ['-s', '--http2', '--cacert', pki.serverCa.certFile, '--cert', pki.clients.apiserver.certFile, '--key', pki.clients.apiserver.keyFile,
    '-H', 'Content-Type: application/json', '-d', JSON.stringify(tokenReview(token)), target.url])).stdout;
  if (!first.includes('"authenticated":true')) throw new Error(`the token is not good: ${first}`);
  const bare = await startBare(pki, Buffer.byteLength(first));

  const fresh = await freshTokens(postern.config.tokens.keys_directory, token, requests * rounds);
  const foreign = 'eyJhbGciOiJSUzI1NiIsImtpZCI6ImZvcmVpZ24ifQ.' + token.split('.')[1] + '.' + 'A'.repeat(342);
  // The portal speaks HTTP/1.1: its floor is the bare handler over HTTP/1.1, with an answer of the same size.
  const portal = { url: `${postern.url}/token`, pid: postern.process.pid };
  const oneByOne = { streams: 1, connections: 4, form: true };
  const { bytes: refreshAnswer } = await load(pki, portal, refreshBodies(refreshToken), 1, oneByOne);
  const bareForm = await startBare(pki, refreshAnswer);
  const signing = [];

  const scenarios = {
    bare: { target: bare, file: () => bodies('warm', [token]) },
    warm: { target, file: () => bodies('warm', [token]), expect: '"authenticated":true' },
    foreign: { target, file: () => bodies('foreign', [foreign]), expect: '"authenticated":false' },
    bad_signature: { target, file: () => bodies('bad_signature', [flipSignature(token)]), expect: '"authenticated":false' },
    first_sight_es256: { target, file: (i) => bodies('first_sight', fresh.slice(i * requests, (i + 1) * requests)), expect: '"authenticated":true' },
    bare_form: { target: bareForm, file: () => refreshBodies(refreshToken), options: oneByOne },
    refresh: { target: portal, file: () => refreshBodies(refreshToken), options: oneByOne, expect: '"id_token":"ey' },
  };

  const samples = Object.fromEntries(Object.keys(scenarios).map((name) => [name, []]));
  for (let i = 0; i < rounds; i += 1) {
    signing.push(await rawSigningUs());
    for (const [name, { target: server, file, options, expect }] of Object.entries(scenarios)) {
      const sample = await load(pki, server, file(i), requests, options);
      if (sample.failed || (expect !== undefined && !sample.answer.includes(expect))) throw new Error(`${name}: ${JSON.stringify(sample)}`);
      samples[name].push(sample);
    }
  }
  const result = {};
  for (const name of Object.keys(scenarios)) result[name] = summary(samples[name], result.bare);
  result.refresh.raw_signing_us = median(signing);
  // What the issue asks for is at most 1.5.
  result.refresh.signatures_beyond_bare = (result.refresh.cpu_us - result.bare_form.cpu_us) / result.refresh.raw_signing_us;

  // Okta stops answering: facts grow old, questions hang; whoever is known gets an answer at once.
  const calm = [], hanging = [];
  for (let i = 0; i < rounds; i += 1) {
    calm.push(await load(pki, target, bodies('warm', [token]), requests, { streams: 4, connections: 1 }));
  }
  world.okta.hold("userinfo");
  for (let i = 0; i < rounds; i += 1) {
    await new Promise((resolve) => { setTimeout(resolve, quick ? 1000 : 5000); });
    hanging.push(await load(pki, target, bodies('warm', [token]), requests, { streams: 4, connections: 1 }));
  }
  result.stale_okta_hangs = { ...summary(hanging, result.bare), ratio_p99_to_calm: median(hanging.map((s) => s.p99_us)) / median(calm.map((s) => s.p99_us)) };
  world.okta.force("userinfo", null);
  for (const name of Object.keys(result)) if (name !== 'bare') result[name].rss_mib = rssMib(postern.process.pid);
  result.bare.rss_mib = rssMib(bare.pid);
  result.idle = { rate: 0, cpu_us: 0, ratio_to_bare: 0, p50_us: 0, p99_us: 0, rss_mib: idleRss, ready_ms: readyMs };

  bare.stop();
  bareForm.stop();
  await world.close();
  return result;
}

// The two parts share no process: each has the machine for itself.
const only = process.argv.includes('--proxy-only');
const result = { ...(only ? {} : await measureWebhook()), ...await measureProxies({ quick }) };
writeFileSync(path.join(out, 'result.json'), `${JSON.stringify(result, null, 2)}\n`);
console.table(Object.fromEntries(Object.entries(result).map(([name, r]) => [name, Object.fromEntries(Object.entries(r).map(([k, v]) => [k, Math.round(v * 100) / 100]))])));
