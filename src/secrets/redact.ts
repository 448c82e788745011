const MASK = '***';
/** A shorter value is a setting such as `1`, `on` or `dev`: masking it would leave holes in words, and tell nothing less. */
const MIN_SECRET_LENGTH = 4;

/** Parts of names, without case and separators, that mark a value as secret. */
const SECRET_WORDS =
  /password|passwd|passphrase|secret|token|apikey|accesskey|privatekey|masterkey|authorization|credential|cookie|connectionstring/;

/** Whether a value under this name is taken for a secret: `apiKey`, `X-Api-Key`, `aws_secret_access_key` … */
export function isSecretName(name: string): boolean {
  return SECRET_WORDS.test(name.toLowerCase().replaceAll(/[^a-z]/g, ''));
}

/** A copy of JSON-like data in which each value under a {@link isSecretName} is `***`, however deep. */
export function redactFields(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redactFields);
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      isSecretName(name) && item !== null && item !== undefined ? MASK : redactFields(item),
    ]),
  );
}

/**
 * The text with `***` for each of the secrets, as it is, JSON-escaped, URL-escaped, in base64 and in hex; for passwords
 * in URLs; and for what follows `Bearer` and `Basic`.
 */
export function redactText(text: string, secrets: Iterable<string> = []): string {
  const forms = [...secrets].filter((secret) => secret.length >= MIN_SECRET_LENGTH).flatMap(spellings);
  // The longest first, or a secret that is part of another would leave the rest of it in clear.
  const byLength = [...new Set(forms)].sort((a, b) => b.length - a.length);
  return byLength
    .reduce((redacted, form) => redacted.replaceAll(form, MASK), text)
    .replaceAll(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, `$1 ${MASK}`)
    .replaceAll(/(\/\/[^\s/:@]*):[^\s/@]+@/g, `$1:${MASK}@`);
}

function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString('hex');
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret.toWellFormed()),
    // Without padding, so that the padded form is found as well.
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    hex,
    hex.toUpperCase(),
  ];
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
