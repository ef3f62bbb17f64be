// A pretended container: commands run as they are on this machine, in a directory of their own, for whoever comes by exec,
// attach or port-forward (pod_streams.mjs).
//
//   const web = new Container({ ports: { 8080: server.address().port } });
//   api.upgrades = streamUpgrades({ 'web-0': web });
import { spawn } from 'node:child_process';
import net from 'node:net';

import { openPortForward, openStreams, refuseUpgrade } from './pod_streams.mjs';
import { tempDir } from './temp.mjs';

const exitStatus = (code) => (code === 0 ? { status: 'Success' } : {
  status: 'Failure', reason: 'NonZeroExitCode', message: `command terminated with non-zero exit code: exit status ${code}`,
  details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
});
const ignore = () => {};

export class Container {
  /** What is open: {kind, user, req, ended}; `ended` resolves when its connection is gone. */
  open = new Set();

  /** `ports`: those that something listens on, as {in the pod: on this machine}. */
  constructor({ ports = {} } = {}) {
    this.dir = tempDir();
    this.ports = ports;
  }

  /** Its own process is a cat; attach talks to it. A new one runs when the former one has ended. */
  get main() {
    this.process ??= this.#spawn(['cat']).once('close', () => { this.process = undefined; });
    return this.process;
  }

  /** Its own process ends well. */
  stop() {
    this.main.stdin.end();
  }

  of(user, kind) {
    return [...this.open].filter((one) => one.user.username === user && one.kind === kind);
  }

  close() {
    this.process?.kill('SIGKILL');
  }

  #spawn(command) {
    const child = spawn(command[0], command.slice(1), { cwd: this.dir, env: { PATH: process.env.PATH }, stdio: 'pipe' });
    for (const one of [child, child.stdin, child.stdout, child.stderr]) one.on('error', ignore);
    return child;
  }

  keep(kind, { req, socket, user }) {
    const one = { kind, user, req, ended: new Promise((resolve) => { socket.once('close', resolve); }) };
    this.open.add(one);
    one.ended.then(() => this.open.delete(one));
  }

  async exec(upgrade) {
    const { query } = upgrade;
    const wanted = wantedOf(query);
    const streams = await openStreams(upgrade, wanted);
    if (wanted.tty) {
      this.#terminal(streams);
      return;
    }
    const child = this.#spawn(query.getAll('command'));
    streams.onClose(() => child.kill('SIGKILL'));
    if (wanted.stdin) streams.stdin.pipe(child.stdin);
    else child.stdin.end();
    for (const name of ['stdout', 'stderr']) child[name].on('data', wanted[name] ? (chunk) => streams[name].write(chunk) : ignore);
    child.once('error', (error) => streams.finish({ status: 'Failure', reason: 'InternalError', code: 500, message: `error executing command in container: ${error.message}` }));
    child.once('close', (code, signal) => { if (code >= 0 && !signal) streams.finish(exitStatus(code)); });
  }

  /** No command: it writes down how large the terminal is, and leaves with what was typed as its exit code. */
  #terminal({ stdin, stdout, resize, finish }) {
    resize.on('data', (chunk) => {
      const { Width, Height } = JSON.parse(chunk.toString());
      stdout.write(`${Width}x${Height}\r\n`);
    });
    stdin.once('data', (typed) => finish(exitStatus(Number(typed.toString().trim()))));
  }

  async attach(upgrade) {
    const wanted = wantedOf(upgrade.query);
    const streams = await openStreams(upgrade, wanted);
    const { main } = this;
    const onOutput = (chunk) => streams.stdout.write(chunk);
    if (wanted.stdin) streams.stdin.pipe(main.stdin, { end: false });
    if (wanted.stdout) main.stdout.on('data', onOutput);
    main.once('close', (code) => streams.finish(exitStatus(code)));
    streams.onClose(() => main.stdout.off('data', onOutput));
  }

  async portforward(upgrade) {
    openPortForward(upgrade, ({ port, data, error }) => {
      error.resume();
      if (!this.ports[port]) {
        error.end(`error forwarding port ${port} to pod: connection refused`);
        data.end();
        return;
      }
      const server = net.connect(this.ports[port], '127.0.0.1');
      data.pipe(server).pipe(data);
      data.once('close', () => server.destroy());
      server.on('error', ignore).once('close', () => error.end());
    });
  }
}

function wantedOf(query) {
  const has = (name) => ['1', 'true'].includes(query.get(name));
  return { stdin: has('stdin'), stdout: has('stdout'), stderr: has('stderr'), tty: has('tty') };
}

/** ApiServer's `upgrades` for these containers, by pod; the others' are not found. */
export function streamUpgrades(containers) {
  const handler = (kind) => (upgrade) => {
    const container = containers[upgrade.name];
    if (!container) {
      refuseUpgrade(upgrade.socket, 404, 'NotFound', `pods "${upgrade.name}" not found`);
      return;
    }
    container.keep(kind, upgrade);
    container[kind](upgrade).catch(() => upgrade.socket.destroy());
  };
  return Object.fromEntries(['exec', 'attach', 'portforward'].map((kind) => [kind, handler(kind)]));
}
