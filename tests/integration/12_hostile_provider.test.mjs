// A provider that lies: none of its lies may become a session.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';

import { locationOf } from '../support/http.mjs';
import { startWorld } from '../support/postern.mjs';
import { getToken, startSignIn } from '../support/sign_in.mjs';
import { defaultSign, rawJwt, rsaJwt, startStandIn } from '../support/stand-in.mjs';

const now = () => Math.floor(Date.now() / 1000);

describe('a provider that lies', { timeout: 180_000 }, () => {
  let world;
  let idp;
  before(async () => {
    world = await startWorld({ idp: startStandIn });
    idp = world.okta;
  });
  after(() => world.close());
  afterEach(() => idp.reset());

  async function signIn(browser = world.browser()) {
    const authorize = await startSignIn(browser);
    const callback = locationOf(await browser.get(authorize));
    return { browser, answer: await browser.get(callback) };
  }

  async function assertRefused(what) {
    const { browser, answer } = await signIn();
    assert.ok(answer.status >= 400 && answer.status < 600, `${what}: ${answer.status}`);
    assert.equal(browser.jar.get('__Host-postern'), undefined, what);
  }

  async function assertAccepted(what) {
    const { browser, answer } = await signIn();
    assert.equal(answer.status, 303, `${what}: ${answer.text}`);
    return browser;
  }

  const claims = (change) => { idp.bend.idToken = (c) => ({ ...c, ...change }); };
  const without = (name) => { idp.bend.idToken = ({ [name]: gone, ...rest }) => rest; };

  test('by itself it is a valid provider', async () => {
    const browser = await assertAccepted('plain');
    const { groups } = await getToken(browser);
    assert.deepEqual(groups, ['k8s-admins']);
  });

  test('peers 1: alg none, no alg, HS256 with the public key, an alg that is not the key’s', async () => {
    const header = { alg: 'RS256', kid: idp.kid };
    const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const hs256 = (key) => (c) => {
      const unsigned = rawJwt({ alg: 'HS256', kid: idp.kid, typ: 'JWT' }, c).slice(0, -1);
      return `${unsigned}.${createHmac('sha256', key).update(unsigned).digest('base64url')}`;
    };
    const forgeries = {
      none: (c) => rawJwt({ alg: 'none', kid: idp.kid }, c),
      'None, with a signature': (c) => rawJwt({ alg: 'None', kid: idp.kid }, c, 'x'.repeat(256)),
      'no alg': (c) => rawJwt({ kid: idp.kid }, c, 'x'.repeat(256)),
      'HS256 with the public key as PEM': hs256(idp.publicPem),
      'HS256 with the modulus': hs256(Buffer.from(idp.publicJwk.n, 'base64url')),
      'HS256 with nothing': hs256(''),
      'HS256 with the client secret': hs256(idp.clientSecret),
      PS256: (c) => rsaJwt({ ...header, alg: 'PS256' }, c, idp.rsaKey, { pss: true }),
      RS512: (c) => rsaJwt({ ...header, alg: 'RS512' }, c, idp.rsaKey, { hash: 'sha512' }),
      'a key of somebody else': (c) => rsaJwt(header, c, foreign.privateKey),
      'a key in the header': (c) => rsaJwt({ alg: 'RS256', jwk: foreign.publicKey.export({ format: 'jwk' }) }, c, foreign.privateKey),
      crit: (c) => rsaJwt({ ...header, crit: ['x'], x: 1 }, c, idp.rsaKey),
      'a bit of the signature flipped': async (c) => flipped(await defaultSign(c, idp)),
      'the signature left out': async (c) => (await defaultSign(c, idp)).replace(/[^.]*$/, ''),
      'four parts': async (c) => `${await defaultSign(c, idp)}.x`,
      'two parts': async (c) => (await defaultSign(c, idp)).replace(/\.[^.]*$/, ''),
      'padded': async (c) => `${await defaultSign(c, idp)}==`,
      'empty': () => '',
      'not a string': () => 42,
    };
    for (const [what, sign] of Object.entries(forgeries)) {
      idp.bend.sign = sign;
      await assertRefused(what);
    }
  });

  test('peers 2: kid missing, unknown, very long, a path, SQL, NUL', async () => {
    const kids = [undefined, 'unknown', 'k'.repeat(4096), '../../../../etc/passwd', "' OR 1=1 --", '\0', `${'x'}\0y`, '', 7, null, ['a'], {}];
    for (const kid of kids) {
      idp.bend.sign = (c) => rawJwt({ alg: 'RS256', ...(kid !== undefined && { kid }) }, c, 'x'.repeat(256));
      await assertRefused(`kid ${JSON.stringify(kid)?.slice(0, 40)}`);
    }
    assert.ok(idp.log.every((call) => !call.url.pathname.includes('passwd')));
  });

  test('peers 3: unknown kids do not make us fetch the keys each time', async () => {
    const fetched = idp.count('jwks');
    for (let i = 0; i < 10; i += 1) {
      idp.bend.sign = (c) => rawJwt({ alg: 'RS256', kid: `unknown-${i}` }, c, 'x'.repeat(256));
      await assertRefused(`unknown-${i}`);
    }
    assert.ok(idp.count('jwks') <= fetched + 1, `${idp.count('jwks') - fetched} fetches`);
  });

  test('peers 4: doubled keys inside the id_token never change who it is', async () => {
    const asText = (c) => JSON.stringify(c);
    const doubled = {
      'sub twice': (c) => asText(c).replace('{', '{"sub":"00u9evil",'),
      'sub twice, last': (c) => asText(c).replace(/}$/, ',"sub":"00u9evil"}'),
      'sub twice, escaped': (c) => asText(c).replace(/}$/, ',"s\\u0075b":"00u9evil"}'),
      'iss twice': (c) => asText(c).replace('{', '{"iss":"https://evil.example",'),
    };
    for (const [what, payload] of Object.entries(doubled)) {
      idp.bend.sign = (c) => rsaJwt({ alg: 'RS256', kid: idp.kid }, payload(c), idp.rsaKey);
      await assertRefused(what);
    }
    // Another case is another name: it counts for nothing.
    idp.reset();
    claims({ Sub: '00u9evil', SUB: '00u9evil', Aud: 'other' });
    const browser = await assertAccepted('Sub beside sub');
    assert.equal((await getToken(browser)).username, idp.person.sub);
  });

  test('peers 6: exp missing, huge, negative, fractional, a string, past', async () => {
    without('exp');
    await assertRefused('no exp');
    for (const exp of [1e300, -1, 0, now() + 600.5, String(now() + 600), null, true, [now() + 600], now() - 600, 2 ** 63, 2 ** 64 + now() + 600]) {
      claims({ exp });
      await assertRefused(`exp ${JSON.stringify(exp)}`);
    }
    claims({ exp: 4102444800 });
    await assertAccepted('exp in the year 2100');
  });

  test('peers 6: iat missing, in the future, or no number', async () => {
    for (const iat of [now() + 3600, -5, 'now', 1e300]) {
      claims({ iat });
      await assertRefused(`iat ${iat}`);
    }
  });

  test('peers 7: aud as string and as array', async () => {
    for (const aud of ['other', ['other'], ['other', idp.clientId], [idp.clientId, 'other'], [], '', null, { 0: idp.clientId }, [[idp.clientId]], `${idp.clientId} `, idp.clientId.slice(0, -1)]) {
      claims({ aud });
      await assertRefused(`aud ${JSON.stringify(aud)}`);
    }
    without('aud');
    await assertRefused('no aud');
    claims({ azp: 'other' });
    await assertRefused('azp of somebody else');
    claims({ aud: [idp.clientId] });
    await assertAccepted('aud as an array of one');
  });

  test('peers 55: iss and sub wrong, empty, or of another type', async () => {
    for (const iss of ['', 'https://evil.example', `${idp.issuer}/`, idp.issuer.toUpperCase(), null, [idp.issuer]]) {
      claims({ iss });
      await assertRefused(`iss ${JSON.stringify(iss)}`);
    }
    for (const sub of ['', null, 7, ['00u1abcd2EFGH3ijk4l5'], 'x'.repeat(256), 'nul\0']) {
      claims({ sub });
      await assertRefused(`sub ${JSON.stringify(sub)?.slice(0, 40)}`);
    }
  });

  test('peers 15: userinfo of somebody else, an array, other junk', async () => {
    const answers = {
      'another sub': (u) => ({ ...u, sub: '00u9evil9evil9evil9e' }),
      'no sub': ({ sub, ...rest }) => rest,
      'sub as an array': (u) => ({ ...u, sub: [u.sub] }),
      array: (u) => [u],
      string: () => '"ada"',
      null: () => 'null',
      empty: () => ' ',
      'cut off': (u) => JSON.stringify(u).slice(0, -5),
      'two documents': (u) => JSON.stringify(u) + JSON.stringify(u),
      'sub twice': (u) => JSON.stringify(u).replace('{', '{"sub":"00u9evil9evil9evil9e",'),
      'bad UTF-8': (u) => Buffer.from(JSON.stringify({ ...u, name: '\xff' }), 'latin1'),
      deep: () => `${'['.repeat(5000)}${']'.repeat(5000)}`,
      'groups as a number': (u) => ({ ...u, groups: 7 }),
      'groups of objects': (u) => ({ ...u, groups: [{ name: 'k8s-admins' }] }),
    };
    for (const [what, bend] of Object.entries(answers)) {
      idp.bend.userinfo = bend;
      await assertRefused(`userinfo: ${what}`);
    }
    for (const answer of [{ status: 401 }, { status: 500 }, { status: 204 }, { reset: true }, { status: 302, headers: { Location: 'https://evil.example/' } }]) {
      idp.reset();
      idp.force('userinfo', answer);
      await assertRefused(`userinfo: ${JSON.stringify(answer)}`);
    }
  });

  test('peers 16: the nonce missing, of another attempt, or of another browser', async () => {
    without('nonce');
    await assertRefused('no nonce');
    for (const nonce of ['', 'other', null, 7]) {
      claims({ nonce });
      await assertRefused(`nonce ${nonce}`);
    }
    // A whole id_token of an earlier sign-in, played again.
    idp.reset();
    let stolen;
    idp.bend.sign = async (c) => { stolen = await defaultSign(c, idp); return stolen; };
    await assertAccepted('the first time');
    idp.bend.sign = () => stolen;
    await assertRefused('the second time');
  });

  test('at_hash that does not fit the access token', async () => {
    claims({ at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' });
    await assertRefused('at_hash');
  });

  test('token answers that are no answers', async () => {
    const bodies = { array: (d) => [d], 'no id_token': ({ id_token, ...rest }) => rest, 'no access_token': ({ access_token, ...rest }) => rest, html: () => '<html>', mac: (d) => ({ ...d, token_type: 'mac' }) };
    for (const [what, bend] of Object.entries(bodies)) {
      idp.bend.token = bend;
      await assertRefused(`token: ${what}`);
    }
    const faults = [{ status: 500 }, { status: 429, body: { error: 'invalid_grant' } }, { status: 401, body: { errorCode: 'invalid_client' } }, { reset: true }, { body: 'x'.repeat(100), truncate: 10 }, { status: 307, headers: { Location: 'https://evil.example/' } }];
    for (const answer of faults) {
      idp.reset();
      idp.force('token', answer);
      await assertRefused(`token: ${JSON.stringify(answer)}`);
    }
  });

  test('after all this it lives and works', async () => {
    await assertAccepted('at the end');
    assert.equal(world.postern.process.ended, undefined);
  });
});

function flipped(jwt) {
  const at = jwt.length - 20;
  return jwt.slice(0, at) + (jwt[at] === 'A' ? 'B' : 'A') + jwt.slice(at + 1);
}
