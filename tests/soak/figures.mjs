// What the process takes over time: resident memory and descriptors, one sample a second.
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as later } from 'node:timers/promises';

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

export class Figures {
  samples = [];

  constructor(pid) {
    this.pid = pid;
  }

  take() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const rssMib = Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024;
    this.samples.push({ rssMib, descriptors: readdirSync(`/proc/${this.pid}/fd`).length });
  }

  async run(until) {
    while (Date.now() < until) {
      this.take();
      await later(1000);
    }
  }

  /** Medians after the warm-up and at the end: {early: {rssMib, descriptors}, late: {…}}. */
  compare() {
    const count = this.samples.length;
    const part = (from, to) => {
      const some = this.samples.slice(Math.floor(count * from), Math.ceil(count * to));
      return { rssMib: median(some.map((s) => s.rssMib)), descriptors: median(some.map((s) => s.descriptors)) };
    };
    return { early: part(0.3, 0.5), late: part(0.8, 1) };
  }
}
