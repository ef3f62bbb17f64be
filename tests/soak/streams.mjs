// Thousands of streams that are open and idle. See streams (the script) and ends.c (both their ends).
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as later } from 'node:timers/promises';

import { freePorts } from '../support/config.mjs';
import { sumOf } from '../support/metrics.mjs';
import { completed } from '../support/people.mjs';
import { makeClusterPki } from '../support/pki.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, signOut } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';
import { cpuUs } from '../bench/figures.mjs';
import { Figures } from './figures.mjs';

const minutes = Number(process.env.POSTERN_SOAK_MINUTES ?? 10);
const wanted = Number(process.env.POSTERN_SOAK_STREAMS ?? 5500);
const peopleCount = 20;
const spare = 1000; // descriptors that are no stream's, and the listeners' shares
const cutMs = 1000;
const tickMs = 500; // of proxy/streams.c

const wrong = [];
const complain = (what) => { wrong.push(what); console.error(`soak: ${what}`); };

/** Of the proxy's descriptors, three quarters of the limit, each stream takes two. */
function countStreams() {
  const limit = Number(process.env.POSTERN_SOAK_DESCRIPTORS);
  const possible = Math.floor((limit - spare) * 3 / 8);
  if (!(possible < wanted)) return wanted;
  console.error(`soak: SCALED DOWN from ${wanted} to ${possible} streams: the limit of open files is ${limit} (ulimit -n)`);
  return possible;
}

/** The process that is both ends of each stream. Emits "closed" with {closed, person, at_ms}. */
class Ends extends EventEmitter {
  #gone = new AbortController();

  static async start({ port, certificate, proxyPort, tokens, watches, sockets }) {
    const self = new Ends();
    const file = path.join(tempDir(), 'tokens');
    writeFileSync(file, tokens.map((token) => `${token}\n`).join(''), { mode: 0o600 });
    self.child = spawn('build/release/tests/soak/soak_ends', [port, certificate.certFile, certificate.keyFile, proxyPort, file, watches, sockets].map(String),
      { stdio: ['pipe', 'pipe', 'inherit'] });
    self.child.once('exit', (code) => { if (code !== 0) complain(`ends.c ended with ${code}`); self.#gone.abort(); });
    createInterface({ input: self.child.stdout }).on('line', (line) => {
      const told = JSON.parse(line);
      self.emit(Object.keys(told)[0], told);
    });
    return self;
  }

  /** Sends a command; resolves with the number that answers it, or rejects after a time. */
  async ask(command, answer, withinMs) {
    const waiting = AbortSignal.any([AbortSignal.timeout(withinMs), this.#gone.signal]);
    const told = once(this, answer, { signal: waiting });
    this.child.stdin.write(`${command}\n`);
    return (await told)[0][answer];
  }

  stop() {
    this.child.stdin.end();
  }
}

async function startPostern(upstreamPort, proxyPort, ca) {
  const people = Array.from({ length: peopleCount }, (_, i) => completed({
    id: `00ustrm${String(i).padStart(3, '0')}ABCdefGHI4`, login: `stream${i}@example.test`, given_name: `Stream${i}`, family_name: 'Load', groups: ['Everyone', 'k8s-viewers'],
  }));
  const world = await startWorld({
    binary: 'build/release/postern',
    okta: { people, perMinute: 1_000_000 },
    change: (config) => {
      config.log.level = 'info';
      config.tokens.lifetime = '1h';
      config.portal.certificate_authority_file = config.oidc.certificate_authority_file;
      config.proxy = { listen: `127.0.0.1:${proxyPort}`, tls: config.portal.tls };
      config.clusters[0].api = { url: `https://127.0.0.1:${proxyPort}`, mode: 'pass', upstream: `https://127.0.0.1:${upstreamPort}`, certificate_authority_file: ca.certFile };
    },
  });
  const browsers = [];
  for (const { id } of people) browsers.push(await world.signIn(id));
  const tokens = [];
  for (const browser of browsers) tokens.push((await getToken(browser)).id_token);
  return { world, browsers, tokens };
}

/** Signs one person in two out; how long after the answer each one's last stream ended, in ms. */
async function signHalfOut(ends, browsers, perPerson) {
  const leaving = browsers.map((browser, person) => ({ browser, person, left: perPerson(person), lastMs: 0, answeredMs: 0 })).filter(({ person }) => person % 2 === 0);
  let remaining = leaving.reduce((n, { left }) => n + left, 0);
  const all = new Promise((resolve) => {
    ends.on('closed', ({ person, at_ms: atMs }) => {
      const who = leaving.find((l) => l.person === person);
      if (!who) return; // counted by whoever holds them
      who.left -= 1;
      who.lastMs = atMs;
      remaining -= 1;
      if (remaining === 0) resolve();
    });
  });
  await Promise.all(leaving.map(async (who) => {
    await signOut(who.browser);
    who.answeredMs = Date.now();
  }));
  await Promise.race([all, later(15_000, undefined, { ref: false })]);
  if (remaining !== 0) complain(`${remaining} streams of people who signed out are still open`);
  return leaving.map(({ lastMs, answeredMs }) => Math.max(0, lastMs - answeredMs));
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const rssOf = (samples) => median(samples.map((s) => s.rssMib));

async function hold(ends, figures) {
  const until = Date.now() + minutes * 60_000;
  const sampling = figures.run(until);
  let rounds = 0;
  // An API server sends a bookmark about once a minute.
  for (let next = Date.now() + 30_000; next < until; next += 60_000) {
    await later(next - Date.now());
    await ends.ask('event', 'told', 20_000);
    rounds += 1;
  }
  await sampling;
  return rounds;
}

function compareMemory(samples) {
  const third = Math.floor(samples.length / 3);
  const first = rssOf(samples.slice(0, third)), last = rssOf(samples.slice(-third));
  if (last > first * 1.02 + 2) complain(`memory grew from ${first} to ${last} MiB`);
  return { firstThirdMib: first, lastThirdMib: last };
}

async function soak() {
  const streams = countStreams();
  const sockets = Math.floor(streams / 11), watches = streams - sockets;
  const [upstreamPort, proxyPort] = await freePorts(2);
  const { ca, apiserver: certificate } = await makeClusterPki(tempDir());
  const { world, browsers, tokens } = await startPostern(upstreamPort, proxyPort, ca);
  const figures = new Figures(world.postern.process.pid);
  figures.take();
  const idleMib = figures.samples.pop().rssMib;
  const ends = await Ends.start({ port: upstreamPort, certificate, proxyPort, tokens, watches, sockets });
  const early = [];
  ends.on('closed', (closed) => early.push(closed));
  await ends.ask('open', 'opened', 120_000);
  console.error(`soak: ${watches} watches and ${sockets} WebSockets are open`);
  await ends.ask('event', 'told', 30_000);
  const rounds = 1 + await hold(ends, figures);
  if (early.length) complain(`${early.length} streams ended while they were held`);
  early.length = 0;
  const memory = compareMemory(figures.samples);
  const open = await world.postern.metrics();
  const perPerson = (person) => Array.from({ length: streams }, (_, i) => i).filter((i) => i % peopleCount === person).length;
  const { pid } = world.postern.process;
  const cpuBefore = cpuUs(pid);
  const cut = await signHalfOut(ends, browsers, perPerson);
  const cutCpuMs = (cpuUs(pid) - cpuBefore) / 1000; // of all workers: what it takes where nobody else is busy
  // Where others keep the machine busy, the time says how busy: then what counts is the work, shared by the workers.
  const isBusy = loadavg()[0] > availableParallelism() + 1;
  if (isBusy) console.error(`soak: ${loadavg()[0]} want ${availableParallelism()} processors: sign-outs are judged by CPU time`);
  if ((isBusy ? tickMs + cutCpuMs / availableParallelism() : Math.max(...cut)) > cutMs) complain(`a sign-out took ${Math.max(...cut)} ms to end its streams`);
  await later(3000); // were others to be cut, it would be now
  const others = early.filter(({ person }) => person % 2 === 1);
  if (others.length) complain(`${others.length} streams of others ended`);
  const reached = await ends.ask('event', 'told', 30_000);
  const remaining = browsers.reduce((n, _, person) => n + (person % 2 ? perPerson(person) : 0), 0);
  if (reached !== remaining) complain(`an event reached ${reached} streams of ${remaining}`);
  ends.stop();
  await world.close();
  return {
    minutes, watches, sockets, signIns: peopleCount, rounds, idleMib, ...memory,
    kibPerStream: (memory.lastThirdMib - idleMib) * 1024 / streams,
    openByMetrics: sumOf(open, 'postern_proxy_streams', {}),
    cutMs: { median: median(cut), last: Math.max(...cut) }, cutCpuMs, processorsWanted: loadavg()[0], othersReached: reached,
  };
}

const result = { ...await soak().catch((error) => { complain(error.stack); return {}; }), wrong };
mkdirSync('build/soak', { recursive: true });
writeFileSync('build/soak/streams.json', `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result, null, 2));
process.exit(wrong.length === 0 ? 0 : 1);
