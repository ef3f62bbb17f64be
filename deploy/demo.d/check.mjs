// deploy/demo --check: what a person does, by a headless browser, step by step.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { launchChromium, newPage, signInAtOktaPage } from '../../tests/support/browser.mjs';

const run = promisify(execFile);
const cluster = 'kubernetes';

/** Each step is one line; the first that fails ends the check. */
async function step(name, action) {
  try {
    const result = await action();
    console.log(`ok      ${name}`);
    return result;
  } catch (error) {
    console.log(`FAILED  ${name}`);
    throw new Error(`${name}: ${error.message}`);
  }
}

async function review(curlArguments) {
  const { stdout } = await run('curl', ['--silent', '--show-error', '--write-out', '\n%{http_version} %{http_code}', ...curlArguments]);
  const [body, version] = [stdout.slice(0, stdout.lastIndexOf('\n')), stdout.slice(stdout.lastIndexOf('\n') + 1)];
  assert.equal(version, '2 200', `${version}: ${body}`);
  return JSON.parse(body).status;
}

export async function check({ pki, postern, okta }, curlArguments) {
  const ada = okta.user('ada');
  const chromium = await launchChromium(pki);
  try {
    const page = await newPage(chromium);
    await step('the portal offers to sign in with Okta', async () => {
      await page.goto(postern.url);
      await page.getByRole('link', { name: 'Sign in with Okta' }).click();
      await page.waitForURL(`${okta.issuer}/**`);
    });
    await step('ada signs in at the stand-in and lands on the home page', async () => {
      await signInAtOktaPage(page, ada);
      await page.waitForURL(`${postern.url}/`);
      await page.getByText(cluster).first().waitFor();
    });
    await step('the profile shows who she is, and the groups that RBAC sees', async () => {
      await page.goto(`${postern.url}/profile`);
      for (const text of [ada.id, 'k8s-admins', 'k8s-viewers']) await page.getByText(text).first().waitFor();
    });
    const token = await step('a page gives her a token for the cluster', async () => {
      await page.goto(postern.url);
      await page.locator(`form[action="/tokens/${cluster}"] button`).first().click();
      await page.waitForURL(`**/tokens/${cluster}`);
      const found = /eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+/.exec(await page.content());
      assert.ok(found, 'there is no token on the page');
      return found[0];
    });
    await step('the webhook says who the token is, over HTTP/2 with the client certificate', async () => {
      const { authenticated, user } = await review(curlArguments(token));
      assert.equal(authenticated, true);
      assert.equal(user.uid, ada.id);
      assert.deepEqual(user.groups.toSorted(), ['k8s-admins', 'k8s-viewers']);
    });
    await step('she signs out', async () => {
      await page.goto(postern.url);
      await page.locator('form[action="/logout"] button').first().click();
      await page.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
    });
    await step('the webhook refuses the same token from now on', async () => {
      const { authenticated } = await review(curlArguments(token));
      assert.ok(!authenticated, 'the token is still good');
    });
  } finally {
    await chromium.close();
  }
}
