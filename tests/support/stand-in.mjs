// A scriptable OIDC provider over HTTPS, for faults that a real provider never shows.
//
// By itself it is a minimal, valid provider: /authorize sends the browser straight back with a code.
// A test bends one thing, and reset() puts all of it back:
//
//   idp.force('token', answer)          this endpoint's answer until reset (answers.mjs; or a function
//                                       of {req, url, body} that returns one, or undefined for its own)
//   idp.forceOnce('token', answer)      the same for one request
//   idp.bend.discovery = (doc) => doc   changes a document before it is sent; likewise
//   idp.bend.jwks, idp.bend.userinfo, idp.bend.token
//   idp.bend.idToken = (claims) => …    claims before they are signed
//   idp.bend.sign = (claims, idp) => …  the compact id_token itself
//   idp.bend.callback = (params) => …   the query of the redirect back, as [[name, value], …]
//
// Each sign-in belongs to the person that idp.person was at its start. idp.signInOf(call) tells whose tokens a
// call brought, so that a fault can meet one sign-in and no other: {person, access, refresh}.
import { KeyObject, constants, createHash, randomBytes, sign } from 'node:crypto';
import https from 'node:https';

import { SignJWT, exportJWK, generateKeyPair } from 'jose';

import { playAnswer } from './answers.mjs';

const random = (bytes = 24) => randomBytes(bytes).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);

const paths = {
  '/.well-known/openid-configuration': 'discovery',
  '/oauth2/v1/authorize': 'authorize',
  '/oauth2/v1/token': 'token',
  '/oauth2/v1/userinfo': 'userinfo',
  '/oauth2/v1/keys': 'jwks',
  '/oauth2/v1/revoke': 'revoke',
};

export async function startStandIn(options) {
  const idp = new StandIn(options);
  await idp.newKey();
  await idp.listen();
  return idp;
}

class StandIn {
  log = [];
  secrets = new Set();
  /** Whoever comes is this person. */
  person = {
    sub: '00u1abcd2EFGH3ijk4l5',
    name: 'Ada Example',
    preferred_username: 'ada@example.test',
    given_name: 'Ada',
    family_name: 'Example',
    email: 'ada@example.test',
    email_verified: true,
    groups: ['Everyone', 'k8s-admins'],
  };

  #server;
  #codes = new Map();
  /** Sign-ins by each token that was given to them. */
  #signIns = new Map();

  constructor({ tls, port = 0, clientId = '0oa1client2ID3xyz4k7', clientSecret = random(32) }) {
    Object.assign(this, { tls, port, clientId, clientSecret });
    this.secrets.add(clientSecret);
    this.reset();
  }

  get issuer() {
    return `https://127.0.0.1:${this.port}`;
  }

  reset() {
    this.bend = {};
    this.forced = new Map();
    this.once = new Map();
  }

  force(endpoint, answer) {
    this.forced.set(endpoint, answer);
  }

  forceOnce(endpoint, answer) {
    this.once.set(endpoint, [...(this.once.get(endpoint) ?? []), answer]);
  }

  /** The last sign-in that got tokens. */
  lastSignIn;

  signInOf({ endpoint, headers, body }) {
    const token = endpoint === 'userinfo' ? headers.authorization?.replace(/^Bearer /, '') : body.get('refresh_token');
    return this.#signIns.get(token);
  }

  count(endpoint) {
    return this.log.filter((entry) => entry.endpoint === endpoint).length;
  }

  /** Signs with a new key from now on; the old one leaves the key set. */
  async newKey() {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
    this.privateKey = privateKey;
    this.rsaKey = KeyObject.from(privateKey);
    this.publicPem = KeyObject.from(publicKey).export({ type: 'spki', format: 'pem' });
    this.kid = random(12);
    this.publicJwk = { ...await exportJWK(publicKey), kid: this.kid, alg: 'RS256', use: 'sig' };
  }

  async listen() {
    this.#server = https.createServer(this.tls, (req, res) => this.#answer(req, res));
    this.#server.on('tlsClientError', () => {});
    await new Promise((resolve) => { this.#server.listen(this.port, '127.0.0.1', resolve); });
    this.port = this.#server.address().port;
  }

  async close() {
    const closed = new Promise((resolve) => { this.#server.close(resolve); });
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(req, res) {
    const url = new URL(req.url, this.issuer);
    const endpoint = paths[url.pathname] ?? 'other';
    let body = '';
    for await (const chunk of req) body += chunk;
    const call = { endpoint, url, body: new URLSearchParams(body), headers: req.headers };
    this.log.push(call);
    const scripted = this.once.get(endpoint)?.shift() ?? this.forced.get(endpoint);
    const answer = typeof scripted === 'function' ? scripted(call) : scripted;
    await playAnswer(res, answer ?? await this.#own(call));
  }

  #own(call) {
    switch (call.endpoint) {
      case 'discovery': return this.#document('discovery', this.#discovery());
      case 'jwks': return this.#document('jwks', { keys: [this.publicJwk] });
      case 'userinfo': return this.#document('userinfo', { ...(this.signInOf(call)?.person ?? this.person) });
      case 'authorize': return this.#authorize(call.url.searchParams);
      case 'token': return this.#token(call);
      case 'revoke': return { status: 200 };
      default: return { status: 404 };
    }
  }

  #document(name, document) {
    const body = this.bend[name] ? this.bend[name](document) : document;
    const bytes = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return { headers: { 'Content-Type': 'application/json' }, body: bytes };
  }

  #discovery() {
    const at = (path) => `${this.issuer}/oauth2/v1/${path}`;
    return {
      issuer: this.issuer,
      authorization_endpoint: at('authorize'),
      token_endpoint: at('token'),
      userinfo_endpoint: at('userinfo'),
      jwks_uri: at('keys'),
      revocation_endpoint: at('revoke'),
      end_session_endpoint: at('logout'),
      response_types_supported: ['code'],
      response_modes_supported: ['query'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid', 'email', 'profile', 'groups', 'offline_access'],
      token_endpoint_auth_methods_supported: ['client_secret_basic'],
      code_challenge_methods_supported: ['S256'],
    };
  }

  #authorize(query) {
    const code = random();
    this.secrets.add(code);
    this.#codes.set(code, { nonce: query.get('nonce'), challenge: query.get('code_challenge'), person: this.person });
    const params = [['code', code], ['state', query.get('state')]];
    const back = new URLSearchParams(this.bend.callback ? this.bend.callback(params) : params);
    return { status: 302, headers: { Location: `${query.get('redirect_uri')}?${back}` } };
  }

  async #token(call) {
    const form = call.body;
    const attempt = form.get('grant_type') === 'refresh_token' ? this.signInOf(call) : this.#redeem(form);
    if (!attempt) return { status: 400, body: { error: 'invalid_grant' } };
    const accessToken = random();
    const claims = this.#idClaims(attempt, accessToken);
    const document = {
      token_type: 'Bearer',
      expires_in: 3600,
      access_token: accessToken,
      scope: 'openid profile email groups offline_access',
      refresh_token: form.get('refresh_token') ?? random(),
      id_token: await (this.bend.sign ?? defaultSign)(this.bend.idToken ? this.bend.idToken(claims) : claims, this),
    };
    for (const name of ['access_token', 'refresh_token', 'id_token']) this.secrets.add(document[name]);
    this.#note(attempt, document);
    return this.#document('token', document);
  }

  #note(attempt, document) {
    const signIn = attempt.nonce ? { person: attempt.person } : attempt;
    Object.assign(signIn, { access: document.access_token, refresh: document.refresh_token });
    this.#signIns.set(signIn.access, signIn).set(signIn.refresh, signIn);
    this.lastSignIn = signIn;
  }

  #redeem(form) {
    const attempt = this.#codes.get(form.get('code'));
    this.#codes.delete(form.get('code'));
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    return attempt?.challenge === challenge ? attempt : undefined;
  }

  #idClaims({ nonce, person }, accessToken) {
    const { sub, name, preferred_username, email } = person;
    const half = createHash('sha256').update(accessToken).digest().subarray(0, 16);
    return {
      sub,
      name,
      preferred_username,
      email,
      ver: 1,
      iss: this.issuer,
      aud: this.clientId,
      iat: now(),
      exp: now() + 3600,
      jti: `ID.${random()}`,
      amr: ['pwd'],
      auth_time: now(),
      at_hash: half.toString('base64url'),
      ...(nonce && { nonce }),
    };
  }
}

export function defaultSign(claims, idp) {
  return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: idp.kid }).sign(idp.privateKey);
}

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** Any header, any payload (text goes as it is), any signature: what no library would make. */
export function rawJwt(header, payload, signature = '') {
  return `${part(header)}.${part(payload)}.${Buffer.from(signature).toString('base64url')}`;
}

/** The same, really signed: by RSA with this hash, or by RSA-PSS. */
export function rsaJwt(header, payload, key, { hash = 'sha256', pss = false } = {}) {
  const input = `${part(header)}.${part(payload)}`;
  const padding = pss
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { padding: constants.RSA_PKCS1_PADDING };
  return `${input}.${sign(hash, Buffer.from(input), { key, ...padding }).toString('base64url')}`;
}
