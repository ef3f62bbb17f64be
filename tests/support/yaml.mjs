// Writes plain data as YAML in block style, so that messages about a config can name a line.

/** Scalars are written as JSON writes them, which YAML reads alike. Undefined keys are left out. */
export function toYaml(value, indent = '') {
  return Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .map(([key, v]) => entry(`${indent}${key}:`, v, indent))
    .join('');
}

function entry(head, value, indent) {
  if (Array.isArray(value) && value.some(isMapping)) {
    return `${head}\n${value.map((v) => listItem(v, `${indent}  `)).join('')}`;
  }
  if (isMapping(value)) return `${head}\n${toYaml(value, `${indent}  `)}`;
  if (Array.isArray(value)) return `${head} [${value.map(scalar).join(', ')}]\n`;
  return `${head} ${scalar(value)}\n`;
}

function listItem(value, indent) {
  const block = toYaml(value, `${indent}  `);
  return `${indent}- ${block.slice(indent.length + 2)}`;
}

const isMapping = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
// Durations and plain words read better without quotes.
const scalar = (value) => (typeof value === 'string' && /^[a-z][\w./-]*$|^\d+(ms|[smhd])$/i.test(value)
  && !/^(true|false|yes|no|on|off|null)$/i.test(value) ? value : JSON.stringify(value));
