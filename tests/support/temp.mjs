// A directory that goes away with the process that asked for it. A test file is a process.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const made = [];
process.once('exit', () => made.forEach((dir) => rmSync(dir, { recursive: true, force: true })));

export function tempDir() {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'postern-test-'));
  made.push(dir);
  return dir;
}
