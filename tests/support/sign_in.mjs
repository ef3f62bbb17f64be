// The whole sign-in with plain HTTP: portal, the stand-in's form, callback.
import assert from 'node:assert/strict';

import { Browser, locationOf } from './http.mjs';

const isRedirect = (answer) => answer.status >= 300 && answer.status < 400;

/** GET /login: the browser has the attempt's cookie; the address at Okta is returned. */
export async function startSignIn(browser, returnTo) {
  const query = returnTo === undefined ? '' : `?return_to=${encodeURIComponent(returnTo)}`;
  const answer = await browser.get(`/login${query}`);
  assert.equal(answer.status, 303, answer.text);
  return locationOf(answer);
}

/** What the person does at Okta; ends with the callback's address, which is not followed. */
export async function signInAtOkta(browser, authorizeUrl, user) {
  let answer = await browser.get(authorizeUrl);
  for (let hops = 0; hops < 10; hops += 1) {
    if (isRedirect(answer)) {
      const next = locationOf(answer);
      if (next.origin === browser.origin) return next;
      answer = await browser.get(next);
    } else {
      answer = await submitForm(browser, answer, user);
    }
  }
  throw new Error(`Okta's pages lead nowhere: ${answer.url}`);
}

export async function submitForm(browser, answer, user) {
  const action = /<form method="post" action="([^"]+)"/.exec(answer.text)?.[1];
  assert.ok(action, `no form at ${answer.url}: ${answer.status} ${answer.text}`);
  assert.doesNotMatch(answer.text, /role="alert"/, 'Okta refused the person');
  const form = { username: user.login, password: user.password };
  return browser.post(new URL(action, answer.url), form, { headers: { Origin: new URL(answer.url).origin } });
}

/**
 * Signs a person in and returns their browser, with the callback's answer in `browser.landed`.
 * `portal` is {url, ca}; a browser that is signed in at Okta already may be given.
 */
export async function signIn(portal, user, { returnTo, browser = new Browser({ ca: portal.ca, origin: portal.url }) } = {}) {
  const callback = await signInAtOkta(browser, await startSignIn(browser, returnTo), user);
  assert.equal(callback.pathname, '/auth/oidc');
  for (const name of ['code', 'state']) browser.seen.add(callback.searchParams.get(name));
  browser.landed = await browser.get(callback);
  assert.equal(browser.landed.status, 303, browser.landed.text);
  return browser;
}

/** POST /tokens/<cluster>, as JSON: {cluster, username, groups, id_token, refresh_token, expires_at, commands}. */
export async function getToken(browser, cluster = 'kubernetes') {
  const answer = await browser.post(`/tokens/${cluster}`, {}, { headers: { Accept: 'application/json' } });
  assert.equal(answer.status, 200, answer.text);
  const token = answer.json();
  browser.seen.add(token.id_token);
  if (token.refresh_token) browser.seen.add(token.refresh_token);
  return token;
}

/** Whether the portal knows this browser. */
export async function isSignedIn(browser) {
  return (await browser.get('/profile')).status === 200;
}

export async function signOut(browser) {
  const answer = await browser.post('/logout');
  assert.equal(answer.status, 200, answer.text);
  return answer;
}
