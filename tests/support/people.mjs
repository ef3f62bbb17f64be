// The sample people of the Okta stand-in: for the demo, and for tests that want real names.
//
// A person is what Okta knows of them. Tests change groups, `disabled` (deactivated at Okta) and
// `unassigned` (taken off the application) while the stand-in runs.

export const samplePassword = 'postern-demo';

// U+202E turns the text's direction; U+200F is a right-to-left mark.
const hostileName = '</pre><script>alert(1)</script> "quoted\' %n %s \u202Egpj.exe\u200F\r\nSet-Cookie: evil=1';

export function samplePeople() {
  return [
    {
      id: '00u1abcd2EFGH3ijk4l5',
      login: 'ada@example.test',
      given_name: 'Ada',
      family_name: 'Example',
      groups: ['Everyone', 'k8s-admins', 'k8s-viewers', 'k8s team, EU'],
      about: 'an administrator: k8s-admins and k8s-viewers',
    },
    {
      id: '00u2grac3EHOP4per5m6',
      login: 'grace@example.test',
      given_name: 'Grace',
      family_name: 'Sample',
      groups: ['Everyone', 'k8s-viewers'],
      about: 'a viewer: k8s-viewers',
    },
    {
      id: '00u3mall4ORYX5yyy6n7',
      login: 'mallory@example.test',
      given_name: 'Mallory',
      family_name: 'Outsider',
      groups: ['Everyone'],
      about: 'no Kubernetes group at all',
    },
    {
      id: '00u4evex5HOST6ile7o8',
      login: 'eve@example.test',
      name: hostileName,
      given_name: 'Eve "$(id)" `id`',
      family_name: "O'<b>Hostile</b>",
      groups: ['system:masters', '', 'k8s-a,b', 'k8s-ünï', 'k8s-<b>', 'k8s-line\nbreak', 'k8s-a,b'],
      about: 'hostile claims: markup, quotes, line breaks, system:masters',
    },
    {
      id: '00u5linu6LONG7lst8p9',
      login: 'linus@example.test',
      given_name: 'Linus',
      family_name: 'Longlist',
      groups: Array.from({ length: 300 }, (_, i) => `k8s-team-${String(i + 1).padStart(3, '0')}`),
      about: '300 groups',
    },
  ].map(completed);
}

/** Fills in what every person has. `updated_at` is fixed, so that nothing changes by itself. */
export function completed(person) {
  return {
    name: `${person.given_name} ${person.family_name}`,
    email: person.login,
    email_verified: true,
    password: samplePassword,
    locale: 'en-US',
    zoneinfo: 'Europe/Berlin',
    updated_at: 1789990000,
    disabled: false,
    unassigned: false,
    ...person,
  };
}
