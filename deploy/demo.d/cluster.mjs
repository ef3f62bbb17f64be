// The demo's cluster: a stand-in for an API server, which asks Postern's webhook about tokens, and one for Headlamp.
// People reach both through Postern's proxy.
import { startApiServer } from '../../tests/support/apiserver.mjs';
import { WebhookAuthenticator } from '../../tests/support/apiserver_authn.mjs';
import { startHeadlamp } from '../../tests/support/apps_headlamp.mjs';
import { makeClusterPki } from '../../tests/support/pki.mjs';

/** {url, tls, configure(config), close()}: url is the dashboard's. */
export async function startCluster({ pki, ports }) {
  // A certificate of its own: a PKI that an older demo left gets it as well.
  const tls = await pki.serverCa.issue('proxy', { san: 'DNS:dashboard.localhost,IP:127.0.0.1', eku: 'serverAuth' });
  const { ca, apiserver } = await makeClusterPki(pki.dir);
  const api = await startApiServer({
    tls: apiserver,
    allow: { 'k8s-admins': ['*'], 'k8s-viewers': ['get', 'list', 'watch'] },
    authenticator: new WebhookAuthenticator({ url: `https://127.0.0.1:${ports.webhook}`, ca: pki.serverCa.cert, certificate: pki.clients.apiserver, cacheTtlMs: 0 }),
  });
  const headlamp = await startHeadlamp({ api: { url: api.url, ca: ca.cert } });
  const url = `https://dashboard.localhost:${ports.proxy}`;
  return {
    url,
    tls,
    configure(config) {
      config.portal.certificate_authority_file = pki.serverCa.certFile;
      config.proxy = {
        listen: `127.0.0.1:${ports.proxy}`,
        tls: { certificate_file: tls.certFile, key_file: tls.keyFile },
        apps: [{ name: 'headlamp', label: 'Headlamp', kind: 'headlamp', url, upstream: headlamp.url, cluster: 'kubernetes' }],
      };
      // By IP address: kubectl does not resolve names below localhost everywhere.
      config.clusters[0].api = { url: `https://127.0.0.1:${ports.proxy}`, mode: 'pass', upstream: api.url, certificate_authority_file: ca.certFile };
    },
    close: () => Promise.all([headlamp.close(), api.close()]),
  };
}
