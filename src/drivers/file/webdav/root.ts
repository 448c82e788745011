import { joinedPath } from '../../../driver.ts';

/** The folder on the server that all paths are relative to. */
export class Root {
  /** As a header names it. */
  readonly #origin: string;
  /** Encoded, without a slash at the end. */
  readonly #base: string;
  readonly #segments: readonly string[];

  constructor(endpoint: string) {
    const { origin, pathname } = new URL(endpoint);
    this.#origin = origin;
    this.#base = pathname.replace(/\/+$/, '');
    this.#segments = this.#base.split('/').slice(1).map(decodeURIComponent);
  }

  /** The path of a request for a file. */
  target(path: string): string {
    if (path === '') return `${this.#base}/`;
    return `${this.#base}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** The path of a request for a folder: without its slash many servers redirect. */
  folderTarget(path: string): string {
    const target = this.target(path);
    return target.endsWith('/') ? target : `${target}/`;
  }

  /** The whole URL, which is what servers understand as a `Destination`. */
  url(path: string): string {
    return `${this.#origin}${this.target(path)}`;
  }

  /**
   * The path that an href of the server names, decoded once; undefined where it is not below the root. Its host is not
   * looked at, because servers behind a proxy often do not know it, and no href is ever followed.
   */
  pathOf(href: string): string | undefined {
    const [, encoded] = /^(?:[a-z][a-z\d+.-]*:\/\/[^/?#]*)?(\/[^?#]*)$/i.exec(href) ?? [];
    if (encoded === undefined || encoded.startsWith('//')) return undefined;
    const segments: string[] = [];
    for (const part of encoded.replace(/\/$/, '').split('/').slice(1)) {
      const segment = decoded(part);
      if (segment === undefined || segment.includes('/') || ['', '.', '..'].includes(segment))
        return undefined;
      segments.push(segment);
    }
    if (this.#segments.some((segment, i) => segments[i] !== segment)) return undefined;
    return segments.slice(this.#segments.length).join('/');
  }
}

/** The folder that a path lies in, and its name in there. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}

/** A path beside another. */
export function beside(path: string, name: string): string {
  return joinedPath(parentOf(path), name);
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}
