import { ConnectorError } from '../../../driver.ts';

/** What an {@link XmlReader} tells, in the order of the document. */
export type XmlHandler = {
  readonly open: (namespace: string, name: string) => void;
  readonly text: (text: string) => void;
  readonly close: (namespace: string, name: string) => void;
};

/** One tag, comment or run of text at most, in UTF-16 units. */
const MAX_TOKEN = 65_536;
const MAX_DEPTH = 64;

const START_TAG = /<([^\s/>"'=<&!?]+)((?:[^>"'<]|"[^"<]*"|'[^'<]*')*)>/y;
const ATTRIBUTE = /\s([^\s=/>"']+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const ENTITY = /&([^;&\s]{0,10};?)/g;
const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

type Element = {
  readonly tag: string;
  readonly namespace: string;
  readonly name: string;
  readonly scope: ReadonlyMap<string, string>;
};

/**
 * Reads a document of XML piece by piece, with namespaces, keeping no more of it than the tag that is not complete.
 *
 * A document type is refused, and with it every entity but the five of XML and references to characters: nothing in a
 * document can make it larger than it is.
 *
 * @throws ConnectorError `backend_error` for what is no XML.
 */
export class XmlReader {
  readonly #handler: XmlHandler;
  readonly #open: Element[] = [];
  #rest = '';
  #hasRoot = false;

  constructor(handler: XmlHandler) {
    this.#handler = handler;
  }

  push(piece: string): void {
    const text = this.#rest + piece;
    let at = 0;
    for (;;) {
      const markup = text.indexOf('<', at);
      if (markup < 0) break;
      if (markup > at) this.#text(unescaped(text.slice(at, markup)));
      at = markup;
      const end = this.#markup(text, markup);
      if (end === undefined) break;
      at = end;
    }
    this.#rest = text.slice(at);
    if (this.#rest.length > MAX_TOKEN) throw notXml('holds a tag or text that is too long');
  }

  /** @throws ConnectorError `backend_error` when the document is not complete. */
  end(): void {
    if (!this.#hasRoot || this.#open.length > 0 || this.#rest.trim() !== '') throw notXml('ends too early');
  }

  /** Where the markup that begins at `at` ends; undefined while its end has not come. */
  #markup(text: string, at: number): number | undefined {
    if (text.startsWith('<?', at)) return after(text, '?>', at);
    if (text.startsWith('<!--', at)) return after(text, '-->', at);
    if (text.startsWith('<![CDATA[', at)) {
      const end = after(text, ']]>', at);
      if (end !== undefined) this.#text(text.slice(at + 9, end - 3));
      return end;
    }
    if (text.startsWith('<!', at)) {
      if (text.length - at < 9) return undefined;
      throw notXml('declares a document type');
    }
    if (text.startsWith('</', at)) {
      const end = after(text, '>', at);
      if (end !== undefined) this.#close(text.slice(at + 2, end - 1).trimEnd());
      return end;
    }
    START_TAG.lastIndex = at;
    const [whole, tag = '', attributes = ''] = START_TAG.exec(text) ?? [];
    if (whole === undefined) return undefined;
    this.#start(tag, attributes);
    if (attributes.endsWith('/')) this.#close(tag);
    else if (tag.endsWith('/')) throw notXml('is not well-formed');
    return at + whole.length;
  }

  #start(tag: string, attributes: string): void {
    const parent = this.#open.at(-1);
    if (parent === undefined && this.#hasRoot) throw notXml('has two roots');
    if (this.#open.length === MAX_DEPTH) throw notXml('is nested too deeply');
    this.#hasRoot = true;
    let scope = parent?.scope ?? new Map<string, string>();
    if (attributes.includes('xmlns')) {
      const own = new Map(scope);
      for (const [, name = '', double, single] of attributes.matchAll(ATTRIBUTE))
        if (name === 'xmlns' || name.startsWith('xmlns:'))
          own.set(name.slice(6), unescaped(double ?? single ?? ''));
      scope = own;
    }
    const colon = tag.indexOf(':');
    const namespace = scope.get(tag.slice(0, Math.max(colon, 0))) ?? '';
    const element = { tag, namespace, name: tag.slice(colon + 1), scope };
    this.#open.push(element);
    this.#handler.open(namespace, element.name);
  }

  #close(tag: string): void {
    const element = this.#open.pop();
    if (element?.tag !== tag) throw notXml('is not well-formed');
    this.#handler.close(element.namespace, element.name);
  }

  #text(text: string): void {
    if (this.#open.length > 0) this.#handler.text(text);
    else if (text.trim() !== '' && text !== '\ufeff') throw notXml('has text outside of it');
  }
}

function after(text: string, mark: string, from: number): number | undefined {
  const at = text.indexOf(mark, from);
  return at < 0 ? undefined : at + mark.length;
}

function unescaped(text: string): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(ENTITY, (_, body: string) => {
    if (!body.endsWith(';')) throw notXml('holds a bare &');
    const name = body.slice(0, -1);
    const [, hex, decimal] = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(name) ?? [];
    const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16);
    const character = code <= 0x10_ff_ff ? String.fromCodePoint(code) : NAMED[name];
    if (character === undefined) throw notXml('holds an entity that is not known');
    return character;
  });
}

function notXml(what: string): ConnectorError {
  return new ConnectorError('backend_error', `the backend's answer ${what}; is it WebDAV?`);
}
