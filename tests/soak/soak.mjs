// The load, and the judgement. See run; weather.mjs, person.mjs and figures.mjs are its parts.
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { setTimeout as later } from 'node:timers/promises';

import { writeConfig } from '../support/config.mjs';
import { ReviewClient } from '../support/http.mjs';
import { sumOf } from '../support/metrics.mjs';
import { completed } from '../support/people.mjs';
import { startWorld } from '../support/postern.mjs';
import { rawJwt } from '../support/stand-in.mjs';
import { Figures } from './figures.mjs';
import { Person, identity, tokenMs } from './person.mjs';
import { Weather, recoveryMs } from './weather.mjs';

const seconds = Number(process.argv[2] ?? 180);
const lanes = 8;
const pauseMs = 12; // of a lane between reviews: at most some 600 a second in all
const peopleCount = 40;

const users = Array.from({ length: peopleCount }, (_, i) => completed({
  id: `00usoak${String(i).padStart(3, '0')}ABCdefGHI4`,
  login: `soak${i}@example.test`,
  given_name: `Soak${i}`,
  family_name: 'Load',
  groups: ['Everyone', 'k8s-viewers'],
}));

// What AddressSanitizer keeps of freed memory is no growth of ours.
const env = { ASAN_OPTIONS: 'halt_on_error=1:detect_stack_use_after_return=1:quarantine_size_mb=8:thread_local_quarantine_size_kb=64' };
const world = await startWorld({
  env,
  okta: { people: users, perMinute: 1_000_000 },
  change: (config) => {
    config.identity = identity;
    config.tokens = { ...config.tokens, lifetime: `${tokenMs / 1000}s`, leeway: '0s' };
    config.log.level = 'info';
  },
});
const { pid } = world.postern.process;
const weather = new Weather(world.okta);
const figures = new Figures(pid);
const people = users.map((user) => new Person(user, world));
const wrong = [];
const sent = { good: 0, foreign: 0, bad: 0, expired: 0, ended: 0 };
const answered = { yes: 0, no: 0, unsure: 0 };
const done = { signIns: 0, signInsFailed: 0, signOuts: 0, renewals: 0, groups: 0, deactivated: 0, reloads: 0 };
const oldTokens = [];

function complain(what) {
  if (wrong.length < 20) console.error(`soak: ${weather.now}: ${what}`);
  wrong.push(`${weather.now}: ${what}`);
}

const oneOf = (list) => list[randomInt(list.length)];

/* ---- reviews ---- */

function foreignToken() {
  const now = Math.floor(Date.now() / 1000);
  return rawJwt({ alg: 'RS256', kid: `k${randomInt(1000)}` }, { iss: 'https://kubernetes.default.svc', sub: 'system:serviceaccount:a:b', iat: now, exp: now + 600 });
}

function withBadSignature(token) {
  const at = token.length - 40;
  return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
}

const liveOne = () => {
  const person = oneOf(people);
  return person.state === 'in' && person.token.session === person.session && person.token.expiresAt - Date.now() > 5000 ? person : undefined;
};

/** The next question: {kind, token, judge(status)}, or undefined when there is nobody for it. */
function nextQuestion() {
  const dice = randomInt(100);
  const denied = (what) => ({ authenticated }) => (authenticated ? `${what} got a yes` : undefined);
  if (dice < 15) return { kind: 'foreign', token: foreignToken(), judge: denied('a foreign token') };
  if (dice < 25) {
    const token = oneOf(oldTokens.filter((old) => Date.now() > old.expiresAt + 1500).concat(undefined));
    return token && { kind: 'expired', token: token.text, judge: denied('an expired token') };
  }
  if (dice < 35) {
    const token = oneOf(oneOf(people).ended.concat(undefined));
    return token && { kind: 'ended', token: token.text, judge: denied('an ended session’s token') };
  }
  const person = liveOne();
  if (!person) return undefined;
  if (dice < 45) return { kind: 'bad', token: withBadSignature(person.token.text), judge: denied('a bad signature') };
  const { session, lostGroupAt, disabledAt, token } = person;
  const before = { sentAt: Date.now(), session, lostGroupAt, disabledAt, weather };
  return { kind: 'good', token: token.text, judge: (status) => person.judge(status, before) };
}

function count({ authenticated, error }) {
  answered[authenticated ? 'yes' : error ? 'unsure' : 'no'] += 1;
}

async function lane(client, until) {
  while (Date.now() < until) {
    const question = nextQuestion();
    if (question) {
      sent[question.kind] += 1;
      try {
        const status = await client.review(question.token);
        count(status);
        const problem = question.judge(status);
        if (problem) complain(problem);
      } catch (error) {
        complain(`a review failed: ${error.message.slice(0, 200)}`);
      }
    }
    await later(pauseMs);
  }
}

/* ---- what people do ---- */

async function attempt(what, work, counter) {
  const fair = Date.now() > weather.fairSince && weather.now === 'well';
  try {
    await work();
    done[counter] += 1;
  } catch (error) {
    if (what === 'sign-in') done.signInsFailed += 1;
    // On a bad day a page says so; on a good one it must work.
    if (fair && weather.now === 'well') complain(`${what} failed: ${error.message.slice(0, 300)}`);
  }
}

async function renewAll(until) {
  while (Date.now() < until) {
    for (const person of people) {
      if (person.state !== 'in' || person.disabledAt !== undefined || person.token.expiresAt - Date.now() > 7000) continue;
      const { session } = person;
      oldTokens.push(person.token);
      if (oldTokens.length > 50) oldTokens.shift();
      // A sign-out may come between; then the token's session is not the person's.
      await attempt('a token', () => person.renew().catch((error) => { if (person.session === session && person.state === 'in') throw error; }), 'renewals');
    }
    await later(50);
  }
}

async function signInAll(until) {
  while (Date.now() < until) {
    const person = people.find((p) => p.state === 'out' && p.disabledAt === undefined);
    if (person) await attempt('sign-in', () => person.signIn(), 'signIns');
    await later(person ? 20 : 100);
  }
}

async function comeAndGo(until) {
  for (let i = 0; Date.now() < until; i += 1) {
    const person = oneOf(people);
    if (person.state === 'in' && person.disabledAt === undefined) {
      if (i % 3 === 0) await attempt('sign-out', () => person.signOut(), 'signOuts');
      else {
        person.toggleGroup();
        done.groups += 1;
      }
    }
    await later(250);
  }
}

async function deactivate(until) {
  while (Date.now() < until) {
    await later(3000);
    const person = liveOne();
    if (!person) continue;
    person.disable();
    done.deactivated += 1;
    // Longer than any bound, so that a late yes would be seen. The token is asked about all the while.
    later(11_000, undefined, { ref: false }).then(() => person.enable());
  }
}

const reloads = [
  // Something that others hold changes: every connection gets its own again.
  { change: (config, i) => { config.portal.links[0].label = `Documentation ${i}`; }, message: 'reloaded' },
  { change: (config) => { config.identity.fresh = 'soon'; }, message: 'reload refused: the old config goes on' },
  { change: (config, i) => { config.clusters[0].client_names = ['kube-apiserver', `kube-apiserver.${i}`]; }, message: 'reloaded' },
  { change: () => {}, message: 'reloaded' },
];

async function reloadOften(until) {
  const { postern } = world;
  for (let i = 0; Date.now() + 8000 < until; i += 1) {
    await later(4000);
    const { change, message } = reloads[i % reloads.length];
    const config = structuredClone(postern.config);
    change(config, i);
    await writeConfig(postern.configFile, config);
    const from = postern.process.lines.length;
    postern.process.kill('SIGHUP');
    const line = await Promise.race([postern.logLine((r) => /^reload/.test(r.message), from), later(10_000, {}, { ref: false })]);
    if (line.message !== message) complain(`a reload was not "${message}" but ${JSON.stringify(line)}`);
    else done.reloads += 1;
  }
}

/* ---- the end ---- */

async function everybodyIsBack() {
  if (weather.fairSince === Infinity) complain('the weather never cleared');
  await later(recoveryMs);
  const client = world.reviewer();
  for (const person of people) {
    person.enable();
    if (person.user.groups.includes('k8s-extra')) person.toggleGroup();
    await attempt('the last sign-in', () => person.signIn(), 'signIns');
    const status = await client.review(person.token.text);
    sent.good += 1;
    count(status);
    if (!status.authenticated) complain(`at the end ${person.user.id} is refused: ${JSON.stringify(status)}`);
  }
}

async function compareCounts() {
  const metrics = await world.postern.metrics();
  const reviews = (labels) => sumOf(metrics, 'postern_reviews_total', labels);
  const same = (what, ours, theirs) => { if (ours !== theirs) complain(`${what}: ${ours} here, ${theirs} in the metrics`); };
  same('reviews', Object.values(sent).reduce((a, b) => a + b), reviews());
  for (const [decision, n] of Object.entries(answered)) same(`decision ${decision}`, n, reviews({ decision }));
  same('foreign', sent.foreign, reviews({ reason: 'foreign_token' }));
  same('bad signatures', sent.bad, reviews({ reason: 'bad_token' }));
  same('log lines lost', 0, sumOf(metrics, 'postern_log_lines_lost'));
}

function compareFigures() {
  const { early, late } = figures.compare();
  if (late.rssMib > early.rssMib * 1.15 + 8) complain(`resident memory grew from ${early.rssMib} to ${late.rssMib} MiB`);
  if (late.descriptors > early.descriptors + 20) complain(`descriptors grew from ${early.descriptors} to ${late.descriptors}`);
  return { early, late };
}

async function soak() {
  // One after the other: the stand-in shares this process.
  for (const person of people) {
    await person.signIn();
    done.signIns += 1;
  }
  const until = Date.now() + seconds * 1000;
  const clients = Array.from({ length: 4 }, () => new ReviewClient({ url: world.postern.webhookUrl, ca: world.ca, certificate: world.pki.clients.apiserver }));
  await Promise.all([weather.run(until), figures.run(until), renewAll(until), signInAll(until), comeAndGo(until), deactivate(until), reloadOften(until),
    ...Array.from({ length: lanes }, (_, i) => lane(clients[i % clients.length], until))]);
  const memory = compareFigures();
  await everybodyIsBack();
  await compareCounts();
  for (const client of clients) client.close();
  return { seconds, sent, answered, ...done, badDays: weather.seen, memory };
}

let result;
try {
  result = await soak();
} catch (error) {
  complain(error.stack.slice(-1500));
} finally {
  // Its exit code, and what a sanitizer says.
  await world.close().catch((error) => complain(error.message.slice(0, 5000)));
}
result = { ...result, wrong };
writeFileSync('build/soak/result.json', `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result, null, 2));
process.exit(wrong.length === 0 ? 0 : 1);
