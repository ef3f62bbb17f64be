// peers 53: the commands that people paste, in real shells, with names and addresses that nobody should have.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Language, Parser } from 'web-tree-sitter';

import { startWorld } from '../support/postern.mjs';
import { getToken } from '../support/sign_in.mjs';
import { tempDir } from '../support/temp.mjs';

const modules = path.resolve(import.meta.dirname, '../node_modules');

const names = [
  'Ada Example', "o'hara", "''", '$(touch $HOME/pwned) `touch $HOME/pwned` ${HOME}', '; touch $HOME/pwned #', '--kubeconfig=/etc/passwd',
  '-x', 'a\\', 'a\\b\\\\', '\u2018a\u2019 \u201ab\u201b', '%n%s%PATH%', '!! !touch !$', '~root *?[a] {a,b} =ls', '$(\'a\') | Remove-Item', 'ünï 🔑', '<x> & y',
];
const quoted = ['"', 'say "hi"', '" --server=https://evil.example "'];

const servers = {
  kubernetes: "https://10.0.0.1:6443/it's-$(id)-!!-~*",
  'kubernetes-vpn': 'https://vpn.example.test/;x&y%20z$HOME',
};

/** What kubectl must be told, step by step. */
function expectedSteps({ username, answer, issuer, kind, apiCa = true, portalCa, places = servers }) {
  const user = `${username}@kubernetes`;
  const place = ([name, server]) => [
    ['set-cluster', name, `--server=${server}`, ...(apiCa ? ['--certificate-authority=CA', '--embed-certs=true'] : [])],
    ['set-context', name, `--cluster=${name}`, `--user=${user}`],
  ];
  const [first, ...others] = Object.entries(places).map(place);
  const ca = Buffer.from(portalCa).toString('base64');
  const credentials = kind === 'exec'
    ? ['--exec-api-version=client.authentication.k8s.io/v1', '--exec-interactive-mode=IfAvailable', '--exec-command=postern', '--exec-arg=login',
      `--exec-arg=--issuer=${issuer}`, '--exec-arg=--client-id=kubernetes', `--exec-arg=--certificate-authority-data=${ca}`]
    : ['--auth-provider=oidc', ...Object.entries({ 'idp-issuer-url': issuer, 'client-id': 'kubernetes', 'refresh-token': answer.refresh_token,
      'id-token': answer.id_token, 'idp-certificate-authority-data': ca }).map(([k, v]) => `--auth-provider-arg=${k}=${v}`)];
  return [...first, ['delete-user', '--', user], ['set-credentials', ...credentials, '--', user], ['use-context', 'kubernetes'], ...others.flat()]
    .map((words) => ['config', ...words]);
}

// Writes down how it was called, with what environment, and what the CA's file held then.
const fakeKubectl = `#!/bin/sh
printf '%s\\0' "$#" "$@" >>"$RECORD/argv"
env >>"$RECORD/env"
for word; do
    case $word in --certificate-authority=*) cat "\${word#*=}" >>"$RECORD/ca" ;; esac
done
[ "$2" != "$FAIL_AT" ]
`;

describe('the commands', { timeout: 300_000 }, () => {
  const dir = tempDir();
  const bin = path.join(dir, 'bin');
  let world;
  let parser;
  let portalCa;
  let serial = 0;

  before(async () => {
    mkdirSync(bin);
    writeFileSync(path.join(bin, 'kubectl'), fakeKubectl);
    chmodSync(path.join(bin, 'kubectl'), 0o755);
    await Parser.init();
    parser = new Parser();
    parser.setLanguage(await Language.load(path.join(modules, '@vscode/tree-sitter-wasm/wasm/tree-sitter-powershell.wasm')));
    world = await startWorld({ change: (config) => {
      const pki = (name) => path.join(path.dirname(config.portal.tls.certificate_file), '..', name, 'ca.pem');
      config.users.username_claim = 'display_name';
      config.portal.certificate_authority_file = pki('server-ca');
      const [cluster] = config.clusters;
      cluster.server = servers.kubernetes;
      cluster.additional_servers = [{ name: 'kubernetes-vpn', server: servers['kubernetes-vpn'] }];
      cluster.certificate_authority_file = path.join(dir, 'api-ca.pem');
      copyFileSync(pki('client-ca'), cluster.certificate_authority_file);
      config.clusters.push({ name: 'no-address', client_names: ['other'] });
    } });
    portalCa = world.pki.serverCa.cert;
  });
  after(() => world?.close());

  async function answerFor(username, cluster) {
    world.okta.user('ada').name = username;
    const browser = await world.signIn('ada');
    const answer = await getToken(browser, cluster);
    assert.equal(answer.username, username);
    return { browser, answer, username, issuer: world.postern.url, portalCa };
  }

  /** Runs a text as a person does; interactive shells know more tricks (history expansion) than scripts. */
  function run(shell, text, { interactive = false, failAt = '' } = {}) {
    serial += 1;
    const [home, tmp, record] = ['home', 'tmp', 'record'].map((name) => path.join(dir, String(serial), name));
    for (const made of [home, tmp, record]) mkdirSync(made, { recursive: true });
    const quiet = { bash: ['--norc', '--noprofile'], zsh: ['-f'], dash: [] }[shell];
    const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: home, TMPDIR: tmp, RECORD: record, FAIL_AT: failAt, LC_ALL: 'C.UTF-8' };
    const { status, stderr } = spawnSync(shell, [...quiet, ...(interactive ? ['-i'] : ['-c', text])],
      { env, input: interactive ? `${text}\nexit $?\n` : '', encoding: 'utf8', timeout: 60_000, detached: true });
    const read = (name) => existsSync(path.join(record, name)) ? readFileSync(path.join(record, name), 'utf8') : '';
    const calls = [];
    for (const words = read('argv').split('\0').slice(0, -1); words.length > 0;) calls.push(words.splice(0, 1 + Number(words[0])).slice(1));
    const result = { status, stderr, calls, env: read('env'), ca: read('ca'), left: readdirSync(tmp), home: readdirSync(home).filter((f) => !/^\.(bash|zsh)/.test(f)) };
    rmSync(path.join(dir, String(serial)), { recursive: true });
    return result;
  }

  const withoutPath = (calls) => calls.map((words) => words.map((word) => word.replace(/^(--certificate-authority)=\/.*/, '$1=CA')));

  function assertRun(shell, text, facts, options) {
    const result = run(shell, text, options);
    const what = `${shell} ${JSON.stringify(facts.username)}: ${result.stderr}`;
    assert.deepEqual(withoutPath(result.calls), expectedSteps(facts), what);
    assert.equal(result.status, 0, what);
    assert.equal(result.ca.replaceAll(/\n+/g, '\n'), world.pki.clientCa.cert.repeat(2), what);
    assert.deepEqual([result.left, result.home], [[], []], `${what}: left behind`);
    for (const secret of [facts.answer.id_token, facts.answer.refresh_token]) assert.ok(!result.env.includes(secret), 'a token in the environment');
  }

  test('peers 53: bash, zsh and dash hand every word over as it is', async () => {
    for (const username of [...names, ...quoted]) {
      const facts = await answerFor(username);
      for (const text of [facts.answer.commands.bash, facts.answer.commands.exec]) assert.match(text, /^ \S[^\n]*$/);
      for (const shell of ['bash', 'zsh', 'dash']) {
        assertRun(shell, facts.answer.commands.bash, { ...facts, kind: 'bash' });
        assertRun(shell, facts.answer.commands.bash, { ...facts, kind: 'bash' }, { interactive: true });
        assertRun(shell, facts.answer.commands.exec, { ...facts, kind: 'exec' });
      }
    }
  });

  test('a step that fails ends the rest, and the temporary file goes', async () => {
    const { answer } = await answerFor('Ada Example');
    for (const shell of ['bash', 'zsh', 'dash']) {
      for (const failAt of ['set-cluster', 'set-context', 'set-credentials', 'use-context']) {
        const { status, calls, left } = run(shell, answer.commands.bash, { failAt });
        assert.notEqual(status, 0, `${shell} ${failAt}`);
        assert.equal(calls.at(-1)[1], failAt, shell);
        assert.deepEqual(left, [], shell);
      }
      const { status, calls } = run(shell, answer.commands.bash, { failAt: 'delete-user' });
      assert.equal(status, 0, 'there may be no such user yet');
      assert.equal(calls.length, 7);
    }
  });

  // ---- PowerShell, which does not run here: by its grammar ----

  function* nodes(node, type) {
    if (node.type === type) yield node;
    for (const child of node.children) yield* nodes(child, type);
  }

  // The grammar knows the plain quote only; PowerShell takes four more for it.
  const pair = /(['\u2018-\u201b])(['\u2018-\u201b])/g;

  /** A word as PowerShell takes it. */
  function wordOf(node) {
    const { text } = node;
    if (text.startsWith("'")) {
      assert.ok(text.endsWith("'"), text);
      assert.doesNotMatch(text.slice(1, -1).replaceAll(pair, ''), /['\u2018-\u201b]/, 'a quote that ends the word early');
      return text.slice(1, -1).replaceAll(pair, '$2');
    }
    if (text === '"--certificate-authority=$ca"') return '--certificate-authority=CA';
    assert.match(text, /^[a-z][a-z-]*$/, 'a bare word');
    return text;
  }

  function kubectlCalls(text) {
    const tree = parser.parse(text);
    assert.ok(!tree.rootNode.hasError, `not PowerShell: ${text}`);
    return [...nodes(tree.rootNode, 'command')].filter((command) => command.children[0].text === 'kubectl')
      .map((command) => command.childForFieldName('command_elements').namedChildren.filter((n) => n.text.trim() !== '' && n.type !== 'redirection').map(wordOf));
  }

  test('peers 53: PowerShell hands every word over as it is', async () => {
    for (const username of names) {
      const facts = await answerFor(username);
      const text = facts.answer.commands.powershell;
      assert.match(text, /^ \S[^\n]*$/);
      assert.deepEqual(kubectlCalls(text), expectedSteps({ ...facts, kind: 'powershell' }), username);
    }
    const { answer } = await answerFor('say "hi"');
    assert.equal(answer.commands.powershell, null, 'Windows PowerShell would take the double quotes apart');
  });

  test('the grammar knows a broken command when it sees one', async () => {
    const { answer } = await answerFor('Ada Example');
    const text = answer.commands.powershell;
    assert.throws(() => kubectlCalls(text.replace("'--'", "'--")), /not PowerShell/);
    assert.notDeepEqual(kubectlCalls(text), kubectlCalls(text.replace("'--embed-certs=true'", '')));
  });

  // ---- the file ----

  const tokensIssued = async () => /^postern_tokens_issued_total\{cluster="kubernetes"\} (\d+)$/m.exec(await world.postern.metrics())[1];

  test('the kubeconfig file: every value is a quoted text, with a session of its own', async () => {
    const { browser, answer, username } = await answerFor("o'hara: \"x\" #y");
    const file = await browser.post('/kubeconfig/kubernetes', { style: 'oidc' });
    assert.equal(file.status, 200, file.text);
    assert.equal(file.headers['content-type'], 'application/yaml');
    assert.equal(file.headers['content-disposition'], 'attachment; filename="kubernetes.kubeconfig"');
    assert.equal(file.headers['cache-control'], 'no-store');
    const values = (key) => [...file.text.matchAll(new RegExp(`^ *(?:- )?${key}: (".*")$`, 'gm'))].map(([, text]) => JSON.parse(text));
    assert.deepEqual(values('user'), [`${username}@kubernetes`, `${username}@kubernetes`]);
    assert.deepEqual(values('server'), Object.values(servers));
    assert.deepEqual(values('current-context'), ['kubernetes']);
    assert.equal(Buffer.from(values('certificate-authority-data')[0], 'base64').toString(), world.pki.clientCa.cert);
    assert.equal(Buffer.from(values('idp-certificate-authority-data')[0], 'base64').toString(), portalCa);
    const [token] = values('id-token');
    const [refresh] = values('refresh-token');
    browser.seen.add(token).add(refresh);
    assert.notEqual(refresh, answer.refresh_token);
    assert.equal((await world.review(token, { path: '/tokenreview/kubernetes' })).authenticated, true);
  });

  test('the file for the plugin holds no secret and makes no session', async () => {
    const { browser } = await answerFor('Ada Example');
    const issued = await tokensIssued();
    const file = await browser.post('/kubeconfig/kubernetes', { style: 'exec' });
    assert.equal(file.status, 200, file.text);
    assert.match(file.text, /command: postern/);
    assert.doesNotMatch(file.text, /token|eyJ/);
    assert.equal(await tokensIssued(), issued);
  });

  test('a file is for a form of ours only', async () => {
    const { browser } = await answerFor('Ada Example');
    assert.equal((await browser.get('/kubeconfig/kubernetes')).status, 405);
    assert.equal((await browser.post('/kubeconfig/nowhere')).status, 404);
    const foreign = { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' };
    assert.equal((await browser.post('/kubeconfig/kubernetes', {}, { headers: foreign })).status, 403);
  });

  test('a cluster without an address: a token, no command, no file', async () => {
    const { browser, answer } = await answerFor('Ada Example', 'no-address');
    assert.equal(answer.commands, null);
    assert.match(answer.id_token, /^eyJ/);
    assert.equal((await browser.post('/kubeconfig/no-address')).status, 404);
  });

  test('a CA file that changed is in the next command; one that is none is refused', async () => {
    const file = path.join(dir, 'api-ca.pem');
    const reload = async (content) => {
      const from = world.postern.process.lines.length;
      writeFileSync(file, content);
      world.postern.process.kill('SIGHUP');
      return world.postern.logLine((line) => /^reload/.test(line.message), from);
    };
    const line = world.pki.otherCa.cert.split('\n')[3];
    assert.match((await reload(world.pki.clients.apiserver.key)).message, /refused/);
    assert.ok(!(await answerFor('Ada Example')).answer.commands.bash.includes(line));
    assert.equal((await reload(world.pki.otherCa.cert)).message, 'reloaded');
    assert.ok((await answerFor('Ada Example')).answer.commands.bash.includes(line));
  });
});
