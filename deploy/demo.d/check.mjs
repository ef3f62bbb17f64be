// deploy/demo --check: what a person does, by a headless browser, step by step.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { launchChromium, newPage, signInAtOktaPage } from '../../tests/support/browser.mjs';
import { Laptop, kubectlBinary } from '../../tests/support/kubectl.mjs';

const run = promisify(execFile);
const clusterName = 'kubernetes';

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

export async function check({ pki, cluster, postern, okta }, curlArguments) {
  const ada = okta.user('ada');
  const chromium = await launchChromium({ ...pki, proxy: cluster.tls });
  const laptop = new Laptop(kubectlBinary('1.35'));
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
      await page.getByText(clusterName).first().waitFor();
    });
    await step('the profile shows who she is, and the groups that RBAC sees', async () => {
      await page.goto(`${postern.url}/profile`);
      for (const text of [ada.id, 'k8s-admins', 'k8s-viewers']) await page.getByText(text).first().waitFor();
    });
    const dashboard = await page.context().newPage();
    await step('the badge opens the dashboard, which knows her, and shows her pods', async () => {
      await dashboard.goto(postern.url);
      await dashboard.getByRole('link', { name: 'Headlamp' }).click();
      await dashboard.waitForURL(`${cluster.url}/`);
      for (const text of [`${ada.id} (k8s-admins, k8s-viewers)`, 'web-0 web-1', 'open base64.binary.k8s.io']) await dashboard.getByText(text).waitFor();
    });
    const token = await step('a page gives her a token for the cluster', async () => {
      await page.goto(postern.url);
      await page.locator(`form[action="/tokens/${clusterName}"] button`).first().click();
      await page.waitForURL(`**/tokens/${clusterName}`);
      const found = /eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+/.exec(await page.content());
      assert.ok(found, 'there is no token on the page');
      return found[0];
    });
    await step('the pasted command sets kubectl up, and kubectl gets the pods through the proxy', async () => {
      await laptop.paste(await page.locator('[data-copy="bash"]').textContent());
      assert.match(await laptop.must('get', 'pods'), /web-0/);
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
    await step('the dashboard is gone, and its watch has ended', async () => {
      await dashboard.getByText(/^closed/).waitFor();
      await dashboard.reload();
      await dashboard.getByRole('link', { name: 'Sign in with Okta' }).waitFor();
      assert.equal(new URL(dashboard.url()).origin, postern.url);
    });
    await step('kubectl is refused', async () => {
      const { code, stderr } = await laptop.kubectl('get', 'pods');
      assert.equal(code, 1);
      assert.match(stderr, /logged in to the server/);
    });
    await step('the webhook refuses the same token from now on', async () => {
      const { authenticated } = await review(curlArguments(token));
      assert.ok(!authenticated, 'the token is still good');
    });
  } finally {
    await chromium.close();
  }
}
