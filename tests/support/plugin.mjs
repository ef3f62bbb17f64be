// A person's laptop for `postern login`: a home of its own, and a "browser" that only writes down what it was to open.
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { eventually } from './eventually.mjs';
import { Browser, locationOf } from './http.mjs';
import { plainGet } from './postern.mjs';
import { posternBinary, sanitizerSettings } from './process.mjs';
import { submitForm } from './sign_in.mjs';
import { tempDir } from './temp.mjs';

const api = 'client.authentication.k8s.io';
export const execInfo = (interactive, version = 'v1') => JSON.stringify({ kind: 'ExecCredential', apiVersion: `${api}/${version}`, spec: { interactive } });

export class PluginLaptop {
  constructor({ issuer, clientId = 'kubernetes', ca, home = tempDir() }) {
    Object.assign(this, { issuer, clientId, ca, home });
    this.bin = path.join(home, 'bin');
    this.caFile = path.join(home, 'ca.pem');
    mkdirSync(this.bin, { recursive: true });
    this.setBrowser('printf \'%s\\n\' "$1" >>"$HOME/opened"');
    writeFileSync(this.caFile, ca);
  }

  /** What xdg-open does. */
  setBrowser(script) {
    writeFileSync(path.join(this.bin, 'xdg-open'), `#!/bin/sh\n${script}\n`);
    chmodSync(path.join(this.bin, 'xdg-open'), 0o755);
  }

  get env() {
    return { PATH: `${this.bin}:${process.env.PATH}`, HOME: this.home, DISPLAY: ':0', ...sanitizerSettings };
  }

  get args() {
    return ['login', `--issuer=${this.issuer}`, `--client-id=${this.clientId}`, `--certificate-authority=${this.caFile}`];
  }

  /** Starts one: a PluginRun. */
  start(...more) {
    return this.startWith({}, ...more);
  }

  startWith({ interactive = true, env = {}, version = 'v1', command = [] }, ...more) {
    const [program, ...args] = [...command, posternBinary, ...this.args, ...more];
    return new PluginRun(program, args, { ...this.env, KUBERNETES_EXEC_INFO: execInfo(interactive, version), ...env });
  }

  /** The addresses that the browser was to open. */
  get opened() {
    const file = path.join(this.home, 'opened');
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  }

  /** Waits for the n-th. */
  async tab(n = 1) {
    return (await eventually(() => this.opened, (opened) => opened.length >= n)).at(n - 1);
  }

  get cacheDirectory() {
    return path.join(this.home, '.cache/postern');
  }

  get cacheFile() {
    return path.join(this.cacheDirectory, readdirSync(this.cacheDirectory).find((name) => name.endsWith('.json')));
  }

  get cache() {
    return JSON.parse(readFileSync(this.cacheFile, 'utf8'));
  }

  changeCache(change) {
    writeFileSync(this.cacheFile, JSON.stringify({ ...this.cache, ...change }));
  }

  /** The token is old: as after a pause. */
  expire() {
    this.changeCache({ received_at: 1, expires_at: 2 });
  }

  /** What the person's browser does with an address: it signs in where it is asked to, and ends at the loopback port. */
  async browse(url, { user, browser = new Browser({ ca: this.ca, origin: new URL(this.issuer).origin }) } = {}) {
    const callback = await this.walk(url, { user, browser });
    return plainGet(callback);
  }

  /** The same up to the loopback port's address, which is not visited. */
  async walk(url, { user, browser }) {
    let next = new URL(url);
    for (let hops = 0; hops < 20; hops += 1) {
      if (next.protocol === 'http:') return next;
      const answer = await browser.get(next);
      if (answer.status === 401) next = new URL(/href="(\/login[^"]*)"/.exec(answer.text)[1].replaceAll('&amp;', '&'), next);
      else if (answer.status !== 200) next = locationOf(answer);
      else if (answer.text.includes('action="/authorize"')) next = locationOf(await allow(browser, answer));
      else next = locationOf(await submitForm(browser, answer, user));
    }
    throw new Error(`it leads nowhere: ${next}`);
  }

  /** A first sign-in, to its end. */
  async signIn(options) {
    const run = this.start();
    const before = this.opened.length;
    await this.browse(await this.tab(before + 1), options);
    return run.credential();
  }
}

/** The person's click on the portal's page. */
function allow(browser, page) {
  const fields = [...page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)">/g)];
  const form = Object.fromEntries(fields.map(([, name, value]) => [name, value.replaceAll('&amp;', '&')]));
  return browser.post('/authorize', { ...form, answer: 'allow' });
}

class PluginRun {
  stdout = '';
  stderr = '';

  constructor(program, args, env) {
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => { this.stdout += text; });
    this.child.stderr.setEncoding('utf8').on('data', (text) => { this.stderr += text; });
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => {
        if (/Sanitizer|runtime error/.test(this.stderr)) reject(new Error(this.stderr));
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
    this.ended.catch(() => {});
  }

  /** Waits until stderr has it. */
  async says(pattern) {
    return pattern.exec(await eventually(() => this.stderr, (text) => pattern.test(text)));
  }

  /** It ends well: the ExecCredential that it printed. */
  async credential() {
    const { code, stdout, stderr } = await this.ended;
    if (code !== 0) throw new Error(`it ended with ${code}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** It ends badly, with nothing on stdout: its last line. */
  async failure() {
    const { code, stdout, stderr } = await this.ended;
    if (code !== 1 || stdout !== '') throw new Error(`it ended with ${code}: ${stdout} ${stderr}`);
    return stderr.trim().split('\n').at(-1);
  }
}
