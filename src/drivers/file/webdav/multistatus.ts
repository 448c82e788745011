import { ConnectorError, isConnectorError } from '../../../driver.ts';
import { XmlReader } from './xml.ts';

/** What a server says of one of its resources. */
export type Resource = {
  readonly href: string;
  /** Of the resource as a whole, where it has one. */
  readonly status: number | undefined;
  readonly isCollection: boolean;
  readonly sizeBytes: number | undefined;
  readonly lastModified: Date;
  /** Without quotes; a weak one, which two contents may share, is left out. */
  readonly etag: string | undefined;
};

/** The properties that are asked for, and no others: some servers work hard for the rest. */
export const PROPERTIES = Buffer.from(
  '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/>' +
    '<getlastmodified/><getetag/></prop></propfind>',
);

/** Text of one property or href at most, in UTF-16 units. */
const MAX_TEXT = 16_384;

type Properties = { isCollection?: boolean; size?: string; modified?: string; etag?: string };

/**
 * The resources of a `multistatus` (RFC 4918, section 14.16), each as soon
 * as it has come.
 *
 * @throws ConnectorError `backend_error` for an answer that is none.
 */
export async function* resources(answer: AsyncIterable<Uint8Array>): AsyncGenerator<Resource> {
  const found: Resource[] = [];
  const reader = multistatusReader((resource) => found.push(resource));
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const chunk of answer) {
    reader.push(text(() => decoder.decode(chunk, { stream: true })));
    yield* found.splice(0);
  }
  reader.push(text(() => decoder.decode()));
  reader.end();
  yield* found;
}

function multistatusReader(onResource: (resource: Resource) => void): XmlReader {
  const path: string[] = [];
  let content = '';
  let href: string | undefined;
  let status: number | undefined;
  let known: Properties = {};
  let told: Properties = {};
  let toldStatus: number | undefined;
  const at = () => path.join('/');

  const onOpen: Readonly<Record<string, () => void>> = {
    'multistatus/response': () => {
      href = undefined;
      status = undefined;
      known = {};
    },
    'multistatus/response/propstat': () => {
      told = {};
      toldStatus = undefined;
    },
    'multistatus/response/propstat/prop/resourcetype/collection': () => {
      told.isCollection = true;
    },
  };
  const onClose: Readonly<Record<string, () => void>> = {
    'multistatus/response': () => {
      if (href === undefined) return;
      onResource({ href, status, ...factsOf(known) });
    },
    'multistatus/response/href': () => {
      href ??= content.trim();
    },
    'multistatus/response/status': () => {
      status = statusIn(content);
    },
    'multistatus/response/propstat': () => {
      // What a resource does not have is told as well, with 404, before or after what it has.
      if (toldStatus === undefined || (toldStatus >= 200 && toldStatus < 300)) known = { ...known, ...told };
    },
    'multistatus/response/propstat/status': () => {
      toldStatus = statusIn(content);
    },
    'multistatus/response/propstat/prop/getcontentlength': () => {
      told.size = content;
    },
    'multistatus/response/propstat/prop/getlastmodified': () => {
      told.modified = content;
    },
    'multistatus/response/propstat/prop/getetag': () => {
      told.etag = content;
    },
  };

  return new XmlReader({
    open(namespace, name) {
      path.push(namespace === 'DAV:' ? name : '*');
      if (path[0] !== 'multistatus') throw notMultistatus();
      content = '';
      onOpen[at()]?.();
    },
    text(piece) {
      content += piece;
      if (content.length > MAX_TEXT) throw notMultistatus();
    },
    close() {
      onClose[at()]?.();
      path.pop();
      content = '';
    },
  });
}

function factsOf({ isCollection = false, size = '', modified, etag }: Properties) {
  return {
    isCollection,
    sizeBytes: /^\d{1,15}$/.test(size.trim()) ? Number(size) : undefined,
    lastModified: dateIn(modified),
    etag: strongEtag(etag),
  };
}

/** The moment in a header or property; the epoch where there is none. */
export function dateIn(text: string | undefined): Date {
  const ms = Date.parse(text?.trim() ?? '');
  return new Date(Number.isNaN(ms) ? 0 : ms);
}

/** The tag without its quotes; undefined where it is weak, empty or absent. */
export function strongEtag(text: string | undefined): string | undefined {
  const tag = text?.trim() ?? '';
  if (tag.startsWith('W/')) return undefined;
  return tag.replace(/^"(.*)"$/s, '$1') || undefined;
}

function statusIn(line: string): number | undefined {
  const [, code] = /^\s*HTTP\/[\d.]+ (\d{3})/.exec(line) ?? [];
  return code === undefined ? undefined : Number(code);
}

function text(decode: () => string): string {
  try {
    return decode();
  } catch (error) {
    throw isConnectorError(error) ? error : notMultistatus();
  }
}

function notMultistatus(): ConnectorError {
  return new ConnectorError('backend_error', "the backend's answer is no multistatus; is it WebDAV?");
}
