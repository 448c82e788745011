import { ConnectorError, invalidField } from '../../../driver.ts';
import type { CloudflareWorkersOptions } from './options.ts';

const SLOT = '{name}';
/**
 * The name may be a part of the first label, below a domain that is fixed, or whole parts of the path: whoever names a
 * function must never name a host.
 */
const IN_HOST = /^https?:\/\/[a-z0-9-]*\{name\}[a-z0-9-]*\.[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d{1,5})?\/?$/i;
const IN_PATH = /^https?:\/\/[^/?#@{}]+(?:\/[^/?#{}]+)*\/\{name\}(?:\/[^/?#{}]+)*\/?$/i;
const LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/i;
const LABEL_CHARACTERS = 63;

/** Where Workers are called. */
export type Addresses = {
  /**
   * @throws ConnectorError `invalid_argument` for a name that no host can have; `not_found` where there is no such
   *   function in the table, and nothing but the table.
   */
  urlOf(name: string): string;
  /** The names that have addresses of their own. */
  readonly named: readonly string[];
  /** Whether any name has an address. */
  readonly isOpen: boolean;
  /** An address that shows whether the platform can be reached; absent where none is known before a function is named. */
  readonly probe: string | undefined;
};

/** Whether a text is an address with a place for the name of a function. */
export function isTemplate(text: string): boolean {
  return (IN_HOST.test(text) || IN_PATH.test(text)) && URL.canParse(text.replace(SLOT, 'x'));
}

export function addressesOf({
  subdomain,
  endpoint,
  functions,
}: Pick<CloudflareWorkersOptions, 'subdomain' | 'endpoint' | 'functions'>): Addresses {
  const table = new Map(Object.entries(functions));
  const template = subdomain === undefined ? endpoint : `https://${SLOT}.${subdomain}.workers.dev`;
  const [first] = table.values();
  return {
    urlOf(name) {
      const own = table.get(name);
      if (own !== undefined) return own;
      if (template === undefined) throw new ConnectorError('not_found', `there is no function ${name}`);
      return filled(template, name);
    },
    named: [...table.keys()],
    isOpen: template !== undefined,
    probe: first ?? probeOf(template),
  };
}

/**
 * Every name below workers.dev leads to Cloudflare, and a name in the path to one host. What is below a domain of the
 * tenant's own is known with the function's name alone.
 */
function probeOf(template: string | undefined): string | undefined {
  if (template === undefined) return undefined;
  const isKnown = IN_PATH.test(template) || template.endsWith('.workers.dev');
  return isKnown ? template.replace(SLOT, 'connectors-probe') : undefined;
}

function filled(template: string, name: string): string {
  // Not as a pattern: a `$` in what replaces means something.
  if (IN_PATH.test(template)) return template.replace(SLOT, () => encodeURIComponent(name));
  const label = (/^https?:\/\/([^.]+)\./i.exec(template)?.[1] ?? SLOT).replace(SLOT, () => name);
  if (!LABEL.test(name) || label.length > LABEL_CHARACTERS)
    throw invalidField(
      'name',
      `is a label of a host name here: letters, digits and -, ${label.length > LABEL_CHARACTERS ? 'shorter' : 'no more'}`,
    );
  return template.replace(SLOT, () => name);
}
