// Postern with its proxy and the stand-ins for apps behind it. Portal and apps have hosts below one domain, as in companies:
// to a browser they are the same site, so SameSite keeps none of them apart.
//
//   const apps = await startApps();              apps.world, apps.api, apps.headlamp, apps.dashboard7, apps.dashboard2, apps.reports
//   apps.url('headlamp')                         https://headlamp.k8s.example.test:<port>
//   const page = await apps.signIn(context, 'ada');
import { startApiServer } from './apiserver.mjs';
import { WebhookAuthenticator } from './apiserver_authn.mjs';
import { startDashboard2, startDashboard7 } from './apps_dashboard.mjs';
import { startGeneric } from './apps_generic.mjs';
import { startHeadlamp } from './apps_headlamp.mjs';
import { signInAtOktaPage } from './browser.mjs';
import { locationOf } from './http.mjs';
import { makeClusterPki, makeSelfSigned } from './pki.mjs';
import { startWorld } from './postern.mjs';
import { tempDir } from './temp.mjs';

const domain = 'k8s.example.test';

class Apps {
  /** `change(config)` alters the config before it is written. */
  static async start({ change = () => {}, ...rest } = {}) {
    const self = new Apps();
    const dir = tempDir();
    const [{ ca, apiserver }, dashboardTls] = await Promise.all([makeClusterPki(dir), makeSelfSigned(dir, 'kubernetes-dashboard')]);
    let webhook; // there once Postern is
    self.api = await startApiServer({
      tls: apiserver, allow: { 'k8s-admins': ['*'], 'k8s-viewers': ['get', 'list', 'watch'] },
      authenticator: { authenticate: (token) => webhook.authenticate(token), close: () => webhook?.close() },
    });
    const api = { url: self.api.url, ca: ca.cert };
    self.headlamp = await startHeadlamp({ api });
    self.dashboard7 = await startDashboard7({ api });
    self.dashboard2 = await startDashboard2({ api, tls: dashboardTls });
    self.reports = await startGeneric();
    try {
      self.world = await startWorld({ host: `portal.${domain}`, change: (config, ports) => { self.port = ports.proxy; self.#configure(config, dashboardTls); change(config); }, ...rest });
    } catch (error) {
      await self.#closeApps();
      throw error;
    }
    const { postern, ca: serverCa, pki } = self.world;
    webhook = new WebhookAuthenticator({ url: postern.webhookUrl, ca: serverCa, certificate: pki.clients.apiserver, cacheTtlMs: 0 });
    return self;
  }

  #configure(config, dashboardTls) {
    config.identity = { fresh: '0s', max_age: '1s', stale_if_error: '20m' };
    config.proxy = {
      listen: `127.0.0.1:${this.port}`,
      tls: config.portal.tls,
      apps: [
        { name: 'headlamp', label: 'Headlamp', kind: 'headlamp', url: this.url('headlamp'), upstream: this.headlamp.url, cluster: 'kubernetes' },
        { name: 'dashboard', label: 'Dashboard', kind: 'kubernetes-dashboard-7', url: this.url('dashboard'), upstreams: this.dashboard7.upstreams, cluster: 'kubernetes' },
        {
          name: 'dashboard-old', label: 'Old Dashboard', kind: 'kubernetes-dashboard-2', url: this.url('dashboard-old'), upstream: this.dashboard2.url,
          certificate_authority_file: dashboardTls.certFile, cluster: 'kubernetes',
        },
        { name: 'reports', label: 'Reports', kind: 'generic', url: this.url('reports'), upstream: this.reports.url, allowed_groups: ['k8s-admins', 'k8s-viewers'] },
      ],
    };
  }

  /** An app's origin: its name is its host. */
  url(name) {
    return `https://${name}.${domain}:${this.port}`;
  }

  get portal() {
    return this.world.postern.url;
  }

  user(name) {
    return this.world.okta.user(name);
  }

  /** What a person does on the portal's sign-in page, and at Okta; ends wherever that leads. */
  async signInHere(page, name) {
    await page.getByRole('link', { name: 'Sign in with Okta' }).click();
    await signInAtOktaPage(page, this.user(name));
  }

  /** A new page of that context, signed in at the portal. */
  async signIn(context, name) {
    const page = await context.newPage();
    await page.goto(this.portal);
    await this.signInHere(page, name);
    await page.waitForURL(`${this.portal}/`);
    return page;
  }

  /** Plain HTTP: follows a signed-in Browser's redirects from an app's address until they end; the last answer. */
  async enter(browser, name, path = '/') {
    let answer = await browser.get(this.url(name) + path);
    for (let hops = 0; answer.status === 302 || answer.status === 303; hops += 1) {
      if (hops === 10) throw new Error(`redirects without end, at last to ${answer.headers.location}`);
      answer = await browser.get(locationOf(answer));
    }
    return answer;
  }

  /** The server that answers for an app: what has reached it. */
  upstreamOf(name) {
    return { headlamp: this.headlamp, dashboard: this.dashboard7.api, 'dashboard-old': this.dashboard2, reports: this.reports }[name];
  }

  /** Every bearer that the apps and the API server have been given. */
  tokens() {
    const { auth, api, web } = this.dashboard7;
    const requests = [this.headlamp, auth, api, web, this.dashboard2, this.reports].flatMap((app) => app.requests);
    const found = requests.flatMap(({ headers }) => Object.values(headers).flatMap((value) => String(value).match(/eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+/g) ?? []));
    return [...new Set(found)];
  }

  async #closeApps() {
    await Promise.all([this.headlamp, this.dashboard7, this.dashboard2, this.reports, this.api].map((app) => app.close()));
  }

  async close() {
    try {
      await this.world.close();
    } finally {
      await this.#closeApps();
    }
  }
}

export function startApps(options) {
  return Apps.start(options);
}
