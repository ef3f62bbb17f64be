// The Okta stand-in: npm's oidc-provider set up to behave like an Okta org authorization server.
//
// What is Okta's way, and not the library's: the paths; a thin id_token (groups come from userinfo
// alone); opaque tokens; a refresh token that stays the same; offline_access without a consent page;
// each sign-in's tokens independent of the browser's other sign-ins; X-Rate-Limit headers on every
// answer that counts; Okta's own words in refusals.
//
// As a program (deploy/demo uses it as a module):
//   node okta.mjs --port 8444 --certificate FILE --key FILE --portal https://localhost:8443 --client-secret-file FILE
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { parseArgs } from 'node:util';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider, errors, interactionPolicy } from 'oidc-provider';

import { playAnswer } from './answers.mjs';
import { notePage, signInPage, signOutPage } from './okta_pages.mjs';
import { OktaStore } from './okta_store.mjs';
import { samplePeople } from './people.mjs';

const endpoints = {
  authorization: '/oauth2/v1/authorize',
  token: '/oauth2/v1/token',
  userinfo: '/oauth2/v1/userinfo',
  jwks: '/oauth2/v1/keys',
  revocation: '/oauth2/v1/revoke',
  introspection: '/oauth2/v1/introspect',
  end_session: '/oauth2/v1/logout',
};
const endpointOfPath = new Map([
  ...Object.entries(endpoints).map(([name, path]) => [path, name]),
  ['/.well-known/openid-configuration', 'discovery'],
]);
// Discovery and keys are not rate limited at Okta.
const limited = new Set(['authorization', 'token', 'userinfo', 'revocation', 'introspection']);

const claimsOfScope = {
  openid: ['sub', 'ver', 'jti', 'idp', 'amr', 'auth_time', 'at_hash'],
  profile: ['name', 'preferred_username', 'given_name', 'family_name', 'locale', 'zoneinfo', 'updated_at'],
  email: ['email', 'email_verified'],
  groups: ['groups'],
};

/**
 * Starts a stand-in. Options:
 *   port        0: a free one
 *   tls         {key, cert} as PEM, good for 127.0.0.1
 *   portal      the portal's URL: its /auth/oidc and / are the registered redirect URIs
 *   people      default: samplePeople()
 *   clientId, clientSecret
 *   clientAuth  {method, keys}: how the client proves who it is (client_secret_basic by default), and its
 *               public keys as JWKs
 *   fatIdToken  put everything into the id_token as well
 *   rotate      a new refresh token at each refresh
 *   perMinute   rate limit of each endpoint, as Okta's bucket
 */
export async function startOkta(options) {
  const okta = new Okta(options);
  await okta.up();
  return okta;
}

class Okta {
  /** Every secret it gave out or knows: a log must hold none of them. */
  secrets = new Set();
  /** One entry for each request: {endpoint, path, status, grant}. */
  log = [];

  #options;
  #server;
  #provider;
  #store = new OktaStore();
  #forced = new Map();
  #held = new Map();
  #windows = new Map();

  constructor(options) {
    this.#options = { port: 0, perMinute: 6000, fatIdToken: false, rotate: false, ...options };
    this.clientId = options.clientId ?? '0oa1client2ID3xyz4k7';
    this.clientSecret = options.clientSecret ?? randomBytes(32).toString('base64url');
    this.secrets.add(this.clientSecret);
    this.users = options.people ?? samplePeople();
  }

  get issuer() {
    return `https://127.0.0.1:${this.port}`;
  }

  get url() {
    return this.issuer;
  }

  /** A person by Okta id, login, or the login's part before the @. */
  user(name) {
    return this.users.find((p) => p.id === name || p.login === name || p.login.split('@')[0] === name);
  }

  /** Revokes what a person holds, as an administrator's "clear user sessions" does. */
  revokeTokens(user, models) {
    this.#store.forget(user.id, models);
  }

  /** How often an endpoint was asked (discovery, authorization, token, userinfo, jwks, …). */
  count(endpoint, matches = () => true) {
    return this.log.filter((entry) => entry.endpoint === endpoint && matches(entry)).length;
  }

  /** From now on an endpoint gives this answer (see answers.mjs); null: its own again. */
  force(endpoint, answer) {
    if (answer) this.#forced.set(endpoint, answer);
    else this.#forced.delete(endpoint);
  }

  /**
   * Holds an endpoint's requests back. Returns {arrived, release}: a promise that the first request
   * has come, and the function that lets all of them go on.
   */
  hold(endpoint) {
    const arrived = Promise.withResolvers();
    const gate = Promise.withResolvers();
    this.#held.set(endpoint, { arrived, gate });
    const release = () => {
      this.#held.delete(endpoint);
      gate.resolve();
    };
    return { arrived: arrived.promise, release };
  }

  /** Stops listening and cuts every connection. What was issued is remembered. */
  async down() {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  /** Listens (again), on the same port. */
  async up() {
    const { tls } = this.#options;
    const server = https.createServer(tls, (req, res) => this.#answer(req, res));
    // A client that breaks off mid-answer is its own business.
    server.on('tlsClientError', () => {});
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port ?? this.#options.port, '127.0.0.1', resolve);
    });
    this.port = server.address().port;
    this.#server = server;
    this.#provider ??= await this.#makeProvider();
  }

  async close() {
    for (const { gate } of this.#held.values()) gate.resolve();
    await this.down();
  }

  async #answer(req, res) {
    const url = new URL(req.url, this.issuer);
    const entry = { endpoint: endpointOfPath.get(url.pathname) ?? 'other', path: url.pathname };
    this.log.push(entry);
    res.once('finish', () => { entry.status = res.statusCode; });

    const held = this.#held.get(entry.endpoint);
    if (held) {
      held.arrived.resolve();
      await held.gate.promise;
    }
    const forced = this.#forced.get(entry.endpoint) ?? this.#rateLimit(entry.endpoint, res);
    if (forced) {
      await playAnswer(res, forced);
      return;
    }
    if (url.pathname.startsWith('/interaction/')) {
      await this.#interaction(req, res);
      return;
    }
    if (entry.endpoint === 'authorization') allowOfflineAccess(req, url);
    req.logEntry = entry;
    this.#provider.callback()(req, res);
  }

  /** Counts the request in its one-minute window; an answer when the window is used up. */
  #rateLimit(endpoint, res) {
    if (!limited.has(endpoint)) return undefined;
    const now = Math.floor(Date.now() / 1000);
    let window = this.#windows.get(endpoint);
    if (!window || now >= window.reset) {
      window = { used: 0, reset: now + 60 };
      this.#windows.set(endpoint, window);
    }
    const { perMinute } = this.#options;
    window.used += 1;
    const headers = {
      'X-Rate-Limit-Limit': perMinute,
      'X-Rate-Limit-Remaining': Math.max(0, perMinute - window.used),
      'X-Rate-Limit-Reset': window.reset,
    };
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
    return window.used > perMinute ? tooManyRequests() : undefined;
  }

  async #interaction(req, res) {
    try {
      const { uid } = await this.#provider.interactionDetails(req, res);
      const action = `/interaction/${uid}`;
      if (req.method !== 'POST') {
        sendPage(res, 200, signInPage({ action }));
        return;
      }
      const form = new URLSearchParams(await readBody(req));
      const login = form.get('username') ?? '';
      const user = this.user(login.trim());
      if (!user || user.disabled || form.get('password') !== user.password) {
        sendPage(res, 200, signInPage({ action, login, problem: 'Unable to sign in' }));
        return;
      }
      await this.#provider.interactionFinished(req, res, signedIn(user));
    } catch (error) {
      sendPage(res, 400, notePage('expired', error.error_description ?? error.message));
    }
  }

  async #makeProvider() {
    const provider = new Provider(this.issuer, await this.#configuration());
    // The log entry learns which grant was used, the secrets list what was handed out.
    provider.use(async (ctx, next) => {
      await next();
      ctx.req.logEntry.grant = ctx.oidc?.params?.grant_type;
      if (ctx.oidc?.route === 'token') {
        if (ctx.body?.id_token) this.secrets.add(ctx.body.id_token);
        if (ctx.body?.error) ctx.body = inOktasWords(ctx.body, ctx.oidc.params);
      }
    });
    if (process.env.DEBUG_OKTA) provider.on('server_error', (ctx, error) => console.error(error));
    return provider;
  }

  async #configuration() {
    const { portal, fatIdToken, rotate, clientAuth = { method: 'client_secret_basic' } } = this.#options;
    const { privateKey } = await generateKeyPair('RS256', { extractable: true });
    const key = { ...await exportJWK(privateKey), kid: randomBytes(16).toString('base64url'), alg: 'RS256', use: 'sig' };
    const policy = interactionPolicy.base();
    policy.get('consent').checks.clear();
    return {
      adapter: this.#store.adapter((model, id) => this.#noteIssued(model, id)),
      clients: [{
        client_id: this.clientId,
        client_secret: this.clientSecret,
        client_name: 'Postern',
        redirect_uris: [`${portal}/auth/oidc`],
        post_logout_redirect_uris: [`${portal}/`, portal],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: clientAuth.method,
        ...(clientAuth.keys && { jwks: { keys: clientAuth.keys } }),
        require_auth_time: true,
      }],
      jwks: { keys: [key] },
      routes: endpoints,
      scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
      claims: claimsOfScope,
      // What an id_token holds is decided in #claims.
      conformIdTokenClaims: false,
      findAccount: (ctx, id) => this.#findAccount(ctx, id, fatIdToken),
      loadExistingGrant: freshGrant,
      rotateRefreshToken: rotate,
      pkce: { required: () => true },
      interactions: { policy, url: (ctx, interaction) => `/interaction/${interaction.uid}` },
      cookies: { keys: [randomBytes(32).toString('hex')] },
      ttl: {
        AccessToken: 3600,
        AuthorizationCode: 300,
        IdToken: 3600,
        RefreshToken: 90 * 24 * 3600,
        Grant: 90 * 24 * 3600,
        Interaction: 3600,
        Session: 7200,
      },
      features: {
        devInteractions: { enabled: false },
        introspection: { enabled: true },
        revocation: { enabled: true, allowedPolicy: revokeLikeOkta },
        rpInitiatedLogout: {
          enabled: true,
          logoutSource: (ctx, form) => { ctx.body = signOutPage(form); },
          postLogoutSuccessSource: (ctx) => { ctx.body = notePage('signed out', 'You are signed out.'); },
        },
      },
      renderError: (ctx, out) => {
        ctx.type = 'html';
        ctx.body = notePage(out.error, out.error_description ?? '');
      },
    };
  }

  #noteIssued(model, id) {
    if (['AccessToken', 'RefreshToken', 'AuthorizationCode'].includes(model)) this.secrets.add(id);
  }

  #findAccount(ctx, id, fat) {
    const user = this.user(id);
    if (!user || user.disabled) return undefined;
    if (user.unassigned) {
      // Okta has revoked the tokens of somebody who was taken off the application.
      if (ctx.oidc.route === 'userinfo') return undefined;
      throw new errors.AccessDenied('User is not assigned to the client application.');
    }
    return {
      accountId: user.id,
      claims: (use) => (use === 'id_token' && !fat ? thinClaims(ctx, user) : fullClaims(ctx, user)),
    };
  }
}

function signedIn(user) {
  return user.unassigned
    ? { error: 'access_denied', error_description: 'User is not assigned to the client application.' }
    : { login: { accountId: user.id, amr: ['pwd'] } };
}

function thinClaims(ctx, user) {
  return {
    sub: user.id,
    name: user.name,
    preferred_username: user.login,
    email: user.email,
    ver: 1,
    jti: `ID.${randomBytes(32).toString('base64url')}`,
    idp: '00o1org2ID3xyz4k5l6',
    // The library hashes it; an opaque token is its own id.
    at_hash: ctx.oidc.entities.AccessToken?.jti,
  };
}

function fullClaims(ctx, user) {
  const { given_name, family_name, email_verified, locale, zoneinfo, updated_at, groups } = user;
  const { at_hash, ver, jti, idp, ...thin } = thinClaims(ctx, user);
  const idTokenOnly = ctx.oidc.route === 'userinfo' ? {} : { at_hash, ver, jti, idp };
  return { ...thin, ...idTokenOnly, given_name, family_name, email_verified, locale, zoneinfo, updated_at, groups };
}

/** Okta asks nobody for consent to the organisation's own application: each sign-in is granted anew. */
async function freshGrant(ctx) {
  const { account, client, provider } = ctx.oidc;
  const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
  grant.addOIDCScope('openid email profile groups offline_access');
  await grant.save();
  return grant;
}

/** A revoked refresh token takes its access tokens along (the library's way); never the reverse. */
async function revokeLikeOkta(ctx, client, token) {
  if (token.clientId !== client.clientId) return false;
  if (token.kind !== 'AccessToken') return true;
  await token.destroy();
  return false;
}

/** The library drops offline_access unless prompt=consent came along, which Okta does not want. */
function allowOfflineAccess(req, url) {
  const prompts = (url.searchParams.get('prompt') ?? '').split(' ').filter(Boolean);
  if (prompts.includes('none') || prompts.includes('consent')) return;
  url.searchParams.set('prompt', [...prompts, 'consent'].join(' '));
  req.url = url.pathname + url.search;
}

function inOktasWords(body, params) {
  if (body.error !== 'invalid_grant') return body;
  const description = params?.grant_type === 'refresh_token'
    ? 'The refresh token is invalid or expired.'
    : 'The authorization code is invalid or has expired.';
  return { error: body.error, error_description: description };
}

function tooManyRequests() {
  return {
    status: 429,
    body: {
      errorCode: 'E0000047',
      errorSummary: 'API call exceeded rate limit due to too many requests.',
      errorLink: 'E0000047',
      errorId: `oae${randomBytes(12).toString('base64url')}`,
      errorCauses: [],
    },
  };
}

function sendPage(res, status, html) {
  res.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' });
  res.end(html);
}

async function readBody(req) {
  let body = '';
  for await (const chunk of req) body += chunk;
  return body;
}

async function main() {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8444' },
      certificate: { type: 'string' },
      key: { type: 'string' },
      portal: { type: 'string', default: 'https://localhost:8443' },
      'client-id': { type: 'string' },
      'client-secret-file': { type: 'string' },
    },
  });
  const secretFile = values['client-secret-file'];
  const okta = await startOkta({
    port: Number(values.port),
    tls: { cert: readFileSync(values.certificate), key: readFileSync(values.key) },
    portal: values.portal,
    clientId: values['client-id'],
    clientSecret: secretFile && readFileSync(secretFile, 'utf8').trim(),
  });
  console.log(`Okta stand-in: ${okta.issuer}, client id ${okta.clientId}`);
}

if (process.argv[1] === import.meta.filename) await main();
