/** One way to prove who we are that a server offers. */
export type Challenge = { readonly scheme: string; readonly parameters: Readonly<Record<string, string>> };

// A scheme, or one of its parameters (RFC 9110, section 11.6.1).
const PART = /([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g;

/** The challenges of a `WWW-Authenticate` header, several of which are joined by commas; names in lower case. */
export function challengesIn(header: string): readonly Challenge[] {
  const found: { scheme: string; parameters: Record<string, string> }[] = [];
  for (const [, name = '', quoted, bare] of header.matchAll(PART)) {
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? bare;
    const key = name.toLowerCase();
    const last = found.at(-1);
    if (value === undefined) found.push({ scheme: key, parameters: {} });
    else if (last !== undefined && !Object.hasOwn(last.parameters, key)) last.parameters[key] = value;
  }
  return found;
}
