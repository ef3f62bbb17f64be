// Chromium by Playwright, and axe: for what a person sees.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';

import { publicKeyPin } from './pki.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const screenshots = path.join(root, 'build/screenshots');

/** Debian's Chromium, which trusts the certificates of the portal, of the stand-in and of the proxy if it has its own, and no other odd one. */
export function launchChromium(pki) {
  const pins = [pki.portal, pki.okta, pki.proxy].filter(Boolean).map(({ cert }) => publicKeyPin(cert));
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Chromium's sandbox does not start for root, which CI is.
    chromiumSandbox: process.getuid() !== 0,
    // Names below .test are this machine, as testLookup has it.
    args: [`--ignore-certificate-errors-spki-list=${pins}`, '--host-resolver-rules=MAP *.test 127.0.0.1', '--disable-dev-shm-usage'],
  });
}

/** A page in a profile of its own (axe needs a context, not the browser's default). */
export async function newPage(browser, options) {
  const context = await browser.newContext(options);
  return context.newPage();
}

export const looks = [
  { name: 'light-1440', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { name: 'dark-1440', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { name: 'light-360', colorScheme: 'light', viewport: { width: 360, height: 740 } },
  { name: 'dark-360', colorScheme: 'dark', viewport: { width: 360, height: 740 } },
];

/** Pictures of the page as it is now, in every look: build/screenshots/<name>-<look>.png. */
export async function screenshot(page, name, wanted = looks) {
  mkdirSync(screenshots, { recursive: true });
  for (const { name: look, colorScheme, viewport } of wanted) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    await page.screenshot({ path: path.join(screenshots, `${name}-${look}.png`), fullPage: true });
  }
}

/** Fails with axe's own words when the page breaks WCAG 2.2 AA, or scrolls sideways, in any look. */
export async function assertAccessible(page, wanted = looks) {
  for (const { name: look, colorScheme, viewport } of wanted) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    const { violations } = await new AxeBuilder({ page })
      .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze();
    assert.deepEqual(violations.map(inWords), [], `${page.url()} (${look})`);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(overflow <= 0, `${page.url()} (${look}) is ${overflow}px too wide`);
  }
}

const inWords = ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((n) => n.target.join(' ')).join(', ')}`;

/** The stand-in's form, filled in as a person does. */
export async function signInAtOktaPage(page, user) {
  await page.getByLabel('Username').fill(user.login);
  await page.getByLabel('Password').fill(user.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}
