// Holds a process's fdatasync back, makes it fail, or puts its wall clock on, by a small library that is preloaded into it.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

import { eventually } from './eventually.mjs';

const run = promisify(execFile);

/** Returns {env, hold(), waiting(), release(), fail(), mend(), minuteLater(), asItIs()}; `env` goes to the process. */
export async function makeSyncHold(dir, binary) {
  const library = path.join(dir, 'hold_sync.so');
  const file = path.join(dir, 'hold-sync');
  await run('gcc', ['-shared', '-fPIC', '-O1', '-o', library, path.join(import.meta.dirname, 'hold_sync.c'), '-ldl']);
  return {
    env: { LD_PRELOAD: [...await sanitizersOf(binary), library].join(':'), HOLD_SYNC: file },
    hold: () => writeFile(file, ''),
    /** Resolves when a sync is being held. */
    waiting: () => eventually(async () => existsSync(`${file}.waiting`), Boolean, { tries: 4000, pauseMs: 5 }),
    release: () => rm(file, { force: true }),
    fail: () => writeFile(`${file}.fail`, ''),
    mend: () => rm(`${file}.fail`, { force: true }),
    minuteLater: () => writeFile(`${file}.later`, ''),
    asItIs: () => rm(`${file}.later`, { force: true }),
  };
}

// A sanitizer's library must come before every other one that is preloaded.
async function sanitizersOf(binary) {
  const { stdout } = await run('ldd', [binary]);
  return [...stdout.matchAll(/=> (\S*lib(?:asan|tsan)\S*)/g)].map(([, library]) => library);
}
