// How kube-apiserver judges a bearer token: by a token webhook or by a JWT issuer, with its caches, its single flight
// and its retries. Measured on 1.36. `now` and `sleep` are a test's clock, so that none needs to wait for a cache.
import http2 from 'node:http2';
import { setTimeout as later } from 'node:timers/promises';

import { compactVerify, createLocalJWKSet, errors as joseErrors } from 'jose';

import { request, tokenReview } from './http.mjs';

const second = 1000;
const successMs = 10 * second; // the outer cache; no flag changes it
const budgetMs = 30 * second; // for all tries at a webhook together
const nbfLeewayS = 60; // exp has none

/**
 * The API server's cache over its authenticators: a success for 10 s, and one question per token at a time. Only the
 * token that is asked about counts, not who asks or whether they still wait.
 */
export class TokenCache {
  #known = new Map();
  #flying = new Map();

  constructor(authenticator, { now = Date.now } = {}) {
    this.authenticator = authenticator;
    this.now = now;
  }

  /** The user {username, uid, groups, extra}, or undefined. */
  authenticate(token) {
    const known = this.#known.get(token);
    if (known && this.now() < known.until) return known.user;
    if (!this.#flying.has(token)) {
      const flight = this.#ask(token).finally(() => this.#flying.delete(token));
      this.#flying.set(token, flight);
    }
    return this.#flying.get(token);
  }

  async #ask(token) {
    const user = await this.authenticator.authenticate(token);
    if (user) this.#known.set(token, { user, until: this.now() + successMs });
    return user;
  }

  close() {
    this.authenticator.close?.();
  }
}

/** What went wrong on the way to a webhook; `again`: the API server tries once more. */
class WebhookError extends Error {
  constructor(message, { again = false, retryAfterS } = {}) {
    super(message);
    Object.assign(this, { again, retryAfterS });
  }
}

/** --authentication-token-webhook-config-file. */
export class WebhookAuthenticator {
  /** Questions that went out. */
  calls = 0;
  /** What the API server's log says of refusals and failures. */
  complaints = [];

  #answers = new Map();
  #session;

  /**
   *   url, path             of the webhook; ca and certificate {cert, key} as its kubeconfig has them
   *   audiences             --api-audiences
   *   cacheTtlMs            --authentication-token-webhook-cache-ttl
   */
  constructor({ url, path = '/tokenreview', ca, certificate, audiences = ['https://kubernetes.default.svc'], cacheTtlMs = 120 * second,
    now = Date.now, sleep = later }) {
    Object.assign(this, { url, path, audiences, cacheTtlMs, now, sleep });
    this.tls = { ca, cert: certificate?.cert, key: certificate?.key };
  }

  async authenticate(token) {
    const known = this.#answers.get(token);
    if (known && this.now() < known.until) return known.user;
    const status = await this.#withRetries(token).catch((error) => {
      this.complaints.push(error.message);
      return undefined;
    });
    const user = status?.authenticated === true ? accepted(status, this.audiences) : undefined;
    if (status?.error) this.complaints.push(status.error);
    // An answer with an error in it is no answer to remember.
    if (status && !status.error) this.#answers.set(token, { user, until: this.now() + this.cacheTtlMs });
    return user;
  }

  async #withRetries(token) {
    const giveUpAt = this.now() + budgetMs;
    let pauseMs = 500;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#post(token, giveUpAt - this.now());
      } catch (error) {
        const told = error.retryAfterS !== undefined;
        if (!error.again || (!told && tries === 5)) throw error;
        const wait = told ? error.retryAfterS * second : pauseMs * (1 + 0.2 * Math.random());
        if (this.now() + wait >= giveUpAt) throw error;
        await this.sleep(wait);
        if (!told) pauseMs *= 1.5;
      }
    }
  }

  /** One connection for everything; a new one when the last has gone. */
  #connect() {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    this.#session = http2.connect(this.url, this.tls);
    this.#session.setMaxListeners(0);
    this.#session.on('error', () => {}); // each question reports the connection's end itself
    return this.#session;
  }

  #post(token, timeoutMs) {
    this.calls += 1;
    return new Promise((resolve, reject) => {
      const session = this.#connect();
      const onError = (error) => reject(connectionError(error));
      session.once('error', onError);
      const stream = session.request({
        ':method': 'POST',
        ':path': `${this.path}?timeout=30s`,
        accept: 'application/json, */*',
        'content-type': 'application/json',
        'user-agent': 'Go-http-client/2.0',
      });
      stream.setTimeout(Math.max(timeoutMs, 1), () => {
        reject(new WebhookError('the webhook gave no answer in time'));
        stream.close(http2.constants.NGHTTP2_CANCEL);
      });
      let head;
      let text = '';
      stream.setEncoding('utf8');
      stream.on('response', (h) => { head = h; });
      stream.on('data', (chunk) => { text += chunk; });
      stream.on('error', onError);
      stream.on('close', () => {
        session.off('error', onError);
        if (!head) reject(new WebhookError(`the webhook closed without an answer (${stream.rstCode})`, { again: stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM }));
        else try { resolve(readReview(head, text)); } catch (error) { reject(error); }
      });
      stream.end(`${JSON.stringify(tokenReview(token, { audiences: this.audiences }))}\n`);
    });
  }

  close() {
    this.#session?.destroy();
  }
}

// Refused, unknown host, TLS, a clean end: no second try. Only a reset gets one.
function connectionError(error) {
  return error instanceof WebhookError ? error : new WebhookError(`the webhook's connection: ${error.message}`, { again: error.code === 'ECONNRESET' });
}

function readReview(head, text) {
  const status = head[':status'];
  const retryAfter = head['retry-after'];
  if (status === 429 || status >= 500) {
    // 503 alone means "give up now"; with Retry-After it means "later", as 429 and every 5xx.
    const again = retryAfter !== undefined || status !== 503;
    throw new WebhookError(`the webhook answered ${status}`, { again, retryAfterS: retryAfter === undefined ? undefined : Number(retryAfter) });
  }
  if (status < 200 || status > 202) throw new WebhookError(`the webhook answered ${status}`);
  let review;
  try {
    review = JSON.parse(text);
  } catch {
    throw new WebhookError('the webhook answered something that is not JSON');
  }
  const { apiVersion = 'authentication.k8s.io/v1', kind = 'TokenReview' } = review;
  if (apiVersion !== 'authentication.k8s.io/v1' || kind !== 'TokenReview') throw new WebhookError(`unknown conversion: ${apiVersion} ${kind}`);
  return review.status ?? {};
}

function accepted({ user = {}, audiences = [] }, own) {
  if (audiences.length > 0 && !audiences.some((audience) => own.includes(audience))) return undefined;
  return { username: user.username ?? '', uid: user.uid, groups: user.groups ?? [], extra: user.extra ?? {} };
}

/** --oidc-issuer-url and its neighbours: tokens are judged by the issuer's keys alone. */
export class OidcAuthenticator {
  /** Fetches of the issuer's documents, by kind. */
  fetches = { discovery: 0, keys: 0 };
  complaints = [];

  #jwksUri;
  #keys = { keys: [] };
  #keysUntil = 0;

  /**
   *   issuer, clientId, ca                   --oidc-issuer-url, --oidc-client-id, --oidc-ca-file
   *   usernameClaim, usernamePrefix          "-" is no prefix; without the flag it is "issuer#", but none for email
   *   groupsClaim, groupsPrefix, algorithms  --oidc-signing-algs
   */
  constructor({ issuer, clientId, ca, usernameClaim = 'sub', usernamePrefix, groupsClaim, groupsPrefix = '', algorithms = ['RS256'], now = Date.now }) {
    const implied = usernameClaim === 'email' ? '' : `${issuer}#`;
    const prefix = usernamePrefix === '-' ? '' : usernamePrefix ?? implied;
    Object.assign(this, { issuer, clientId, ca, usernameClaim, groupsClaim, groupsPrefix, algorithms, now, usernamePrefix: prefix });
  }

  async authenticate(token) {
    try {
      return this.#user(await this.#verified(token));
    } catch (error) {
      this.complaints.push(error.message);
      return undefined;
    }
  }

  async #verified(token) {
    if (token.split('.').length !== 3) throw new Error('oidc: malformed jwt');
    await this.#discover(); // once; after that never again
    try {
      return await this.#verify(token);
    } catch (error) {
      if (!(error instanceof joseErrors.JWKSNoMatchingKey) && !(error instanceof joseErrors.JWSSignatureVerificationFailed)) throw error;
      // max-age blocks the fetch of a new key until 30 s before its end.
      if (this.now() + 30 * second < this.#keysUntil) throw error;
      await this.#fetchKeys();
      return this.#verify(token);
    }
  }

  async #verify(token) {
    const { payload } = await compactVerify(token, createLocalJWKSet(this.#keys), { algorithms: this.algorithms });
    const claims = JSON.parse(Buffer.from(payload).toString());
    this.#checkClaims(claims);
    return claims;
  }

  #checkClaims({ iss, aud, exp, nbf }) {
    const nowS = this.now() / second;
    if (iss !== this.issuer) throw new Error(`oidc: issued by ${iss}`);
    if (![aud].flat().includes(this.clientId)) throw new Error(`oidc: expected audience ${this.clientId}, got ${aud}`);
    if (typeof exp !== 'number') throw new Error('oidc: no exp');
    if (nowS > exp) throw new Error(`oidc: token is expired since ${(nowS - exp).toFixed(1)} s`);
    if (nbf !== undefined && nowS + nbfLeewayS < nbf) throw new Error('oidc: token is not valid yet');
  }

  #user(claims) {
    const name = claims[this.usernameClaim];
    if (typeof name !== 'string') throw new Error(`oidc: the claim ${this.usernameClaim} is no string`);
    if (this.usernameClaim === 'email' && claims.email_verified !== undefined && claims.email_verified !== true) throw new Error('oidc: email not verified');
    const listed = this.groupsClaim ? claims[this.groupsClaim] ?? [] : [];
    const groups = typeof listed === 'string' ? [listed] : listed;
    if (!Array.isArray(groups) || groups.some((group) => typeof group !== 'string')) throw new Error('oidc: groups are no list of strings');
    return { username: this.usernamePrefix + name, groups: groups.map((group) => this.groupsPrefix + group), extra: {} };
  }

  async #discover() {
    if (this.#jwksUri) return;
    this.fetches.discovery += 1;
    const document = await this.#get(`${this.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    const { issuer, jwks_uri: jwksUri } = document.json();
    if (issuer !== this.issuer) throw new Error(`oidc: issuer did not match: ${issuer}`);
    if (!jwksUri) throw new Error('oidc: no jwks_uri');
    this.#jwksUri = jwksUri;
  }

  async #fetchKeys() {
    this.fetches.keys += 1;
    const answer = await this.#get(this.#jwksUri);
    this.#keys = answer.json();
    const cacheControl = answer.headers['cache-control'] ?? '';
    const maxAgeS = /no-store|no-cache/.test(cacheControl) ? 0 : Number(/max-age=(\d+)/.exec(cacheControl)?.[1] ?? 0);
    this.#keysUntil = this.now() + maxAgeS * second;
  }

  async #get(url) {
    const answer = await request(url, { ca: this.ca });
    if (answer.status !== 200) throw new Error(`oidc: ${url} answered ${answer.status}`);
    return answer;
  }
}
