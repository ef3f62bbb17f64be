// Names below .test are this machine: for Node here, for Chromium by --host-resolver-rules (browser.mjs).
import dns from 'node:dns';

export function testLookup(hostname, options, callback) {
  if (!hostname.endsWith('.test')) dns.lookup(hostname, options, callback);
  else if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
}
