// An OIDC issuer for clients without a secret, other than ours: npm's oidc-provider with PKCE, the device flow and refresh
// tokens that rotate. People are signed in without a page.
import { randomBytes } from 'node:crypto';
import https from 'node:https';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider, interactionPolicy } from 'oidc-provider';

import { playAnswer } from './answers.mjs';

/** `tls` is {key, cert} for 127.0.0.1. */
export async function startPublicIssuer({ tls, clientId = 'kubernetes' }) {
  const issuer = new PublicIssuer({ tls, clientId });
  await issuer.up();
  return issuer;
}

class PublicIssuer {
  /** Of id_tokens that are issued from now on. */
  lifetimeS = 60;
  /** Who is signed in from now on; null: sign-ins are refused. */
  person = 'ada';
  /** Every grant at the token endpoint: {grant, status}. */
  grants = [];

  #options;
  #server;
  #provider;
  #forced = new Map();

  constructor(options) {
    this.#options = options;
  }

  get url() {
    return `https://127.0.0.1:${this.port}`;
  }

  /** From now on a path gives this answer (see answers.mjs); null: its own again. */
  force(pathname, answer) {
    if (answer) this.#forced.set(pathname, answer);
    else this.#forced.delete(pathname);
  }

  count(grant) {
    return this.grants.filter((g) => g.grant === grant).length;
  }

  async up() {
    const server = https.createServer(this.#options.tls, (req, res) => this.#answer(req, res));
    server.on('tlsClientError', () => {});
    await new Promise((resolve, reject) => server.once('error', reject).listen(this.port ?? 0, '127.0.0.1', resolve));
    this.#server = server;
    this.port = server.address().port;
    this.#provider ??= await this.#makeProvider();
  }

  async down() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  /** What the person does on the other device. */
  async decideDevice(userCode, allowed) {
    const { DeviceCode, Grant } = this.#provider;
    const code = await DeviceCode.findByUserCode(userCode.replaceAll('-', ''));
    if (allowed) {
      const grant = new Grant({ accountId: this.person, clientId: this.#options.clientId });
      grant.addOIDCScope(code.params.scope);
      Object.assign(code, { accountId: this.person, authTime: Math.floor(Date.now() / 1000), claims: {}, grantId: await grant.save(), scope: code.params.scope });
    } else {
      Object.assign(code, { error: 'access_denied', errorDescription: 'not today' });
    }
    await code.save();
  }

  async #answer(req, res) {
    const url = new URL(req.url, this.url);
    const forced = this.#forced.get(url.pathname);
    if (forced) await playAnswer(res, forced);
    else if (url.pathname.startsWith('/interaction/')) await this.#signIn(req, res);
    else this.#provider.callback()(req, res);
  }

  #signIn(req, res) {
    return this.#provider.interactionFinished(req, res, this.person
      ? { login: { accountId: this.person } }
      : { error: 'access_denied', error_description: 'not \u001b[31mtoday' });
  }

  async #makeProvider() {
    const { clientId } = this.#options;
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    const policy = interactionPolicy.base();
    policy.get('consent').checks.clear();
    const provider = new Provider(this.url, {
      clients: [{
        client_id: clientId,
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback'],
        grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
        id_token_signed_response_alg: 'ES256',
      }],
      jwks: { keys: [{ ...await exportJWK(privateKey), kid: 'k', alg: 'ES256', use: 'sig' }] },
      findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
      loadExistingGrant: async (ctx) => {
        const grant = new ctx.oidc.provider.Grant({ accountId: ctx.oidc.account.accountId, clientId });
        grant.addOIDCScope('openid offline_access');
        await grant.save();
        return grant;
      },
      issueRefreshToken: () => true,
      rotateRefreshToken: true,
      pkce: { required: () => true },
      interactions: { policy, url: (ctx, interaction) => `/interaction/${interaction.uid}` },
      cookies: { keys: [randomBytes(32).toString('hex')] },
      ttl: { AccessToken: 60, AuthorizationCode: 60, DeviceCode: 600, Grant: 3600, IdToken: () => this.lifetimeS, Interaction: 600, RefreshToken: 3600, Session: 3600 },
      features: { devInteractions: { enabled: false }, deviceFlow: { enabled: true } },
      renderError: (ctx, out) => { ctx.body = out.error; },
    });
    provider.use(async (ctx, next) => {
      await next();
      if (ctx.oidc?.route === 'token') this.grants.push({ grant: ctx.oidc.params?.grant_type, status: ctx.status, params: ctx.oidc.params });
    });
    return provider;
  }
}
