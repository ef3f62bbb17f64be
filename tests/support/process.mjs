// A child process whose stderr is read as lines, with promises for its lines and its end.
import { execFile, spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

const root = path.resolve(import.meta.dirname, '../..');
export const posternBinary = path.resolve(root, process.env.POSTERN ?? 'build/dev/postern');

export const sanitizerSettings = {
  ASAN_OPTIONS: 'halt_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  TSAN_OPTIONS: 'halt_on_error=1',
  LSAN_OPTIONS: `suppressions=${root}/tests/lsan.supp:print_suppressions=0`,
};
const sanitizerReport = /(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed)/;

export class LoggingProcess {
  /** Every line of stderr so far. */
  lines = [];
  stdout = '';
  /** {code, signal} once it has ended. */
  ended = undefined;

  #waiting = new Set();
  #child;

  constructor(command, args, { env = {}, cwd, logFile } = {}) {
    this.logFile = logFile;
    // The kernel ends it with us, also when a test is killed: no orphan keeps a port or a database.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
      cwd,
      // The parent's environment has nothing to say to Postern but where programs are.
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...sanitizerSettings, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    process.once('exit', this.#killChild);
    this.#child.stdout.setEncoding('utf8').on('data', (text) => { this.stdout += text; });
    createInterface({ input: this.#child.stderr }).on('line', (line) => this.#onLine(line));
    this.exit = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => {
        process.off('exit', this.#killChild);
        this.ended = { code, signal };
        resolve(this.ended);
        for (const { reject: refuse } of this.#waiting) refuse(new Error(`it ended (${code ?? signal}) before the line came\n${this.text}`));
      });
    });
    // Whoever needs it awaits it; nobody has to.
    this.exit.catch(() => {});
  }

  #killChild = () => this.#child.kill('SIGKILL');

  get pid() {
    return this.#child.pid;
  }

  /** All of stderr as it came. */
  get text() {
    return this.lines.join('\n');
  }

  /** stderr's lines as objects; lines that are not JSON are left out. */
  get records() {
    return this.lines.map(asRecord).filter(Boolean);
  }

  kill(signal) {
    this.#child.kill(signal);
  }

  /** The first log record, from line number `from` on, that the predicate likes; waits for it. */
  logLine(predicate, from = 0) {
    const found = this.lines.slice(from).map(asRecord).find((r) => r && predicate(r));
    if (found) return Promise.resolve(found);
    if (this.ended) return Promise.reject(new Error(`it has ended without that line\n${this.text}`));
    return new Promise((resolve, reject) => {
      const waiter = { predicate, resolve, reject };
      this.#waiting.add(waiter);
    });
  }

  sanitizerReport() {
    const at = this.lines.findIndex((line) => sanitizerReport.test(line));
    return at < 0 ? undefined : this.lines.slice(at).join('\n');
  }

  #onLine(line) {
    this.lines.push(line);
    if (this.logFile) appendFileSync(this.logFile, `${line}\n`);
    const record = asRecord(line);
    for (const waiter of this.#waiting) {
      if (record && waiter.predicate(record)) {
        this.#waiting.delete(waiter);
        waiter.resolve(record);
      }
    }
  }
}

function asRecord(line) {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Runs a command of postern to its end: {code, stdout, stderr}. */
export function runPostern(args, { env = {}, binary = posternBinary, timeout = 60_000 } = {}) {
  return new Promise((resolve, reject) => {
    const options = { env: { PATH: process.env.PATH, HOME: process.env.HOME, ...sanitizerSettings, ...env }, timeout };
    execFile(binary, args, options, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error);
      else resolve({ code: error ? error.code : 0, stdout, stderr });
    });
  });
}
