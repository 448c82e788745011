import { z } from 'zod';
import { parseWith } from '../contract/validate.ts';
import { ConnectorError } from '../errors/error.ts';
import type { Answer } from '../operations/operation.ts';
import { vectorList } from '../operations/vector.ts';
import type { CommandSession, ConnectorAnswer } from './command-session.ts';

/** A page of a listing, its records with their values. */
export type Page = Answer<typeof vectorList>;
export type ListedRecord = Page['records'][number];

const MAX_RECORDS = 1_000;
// Some 4 MB of JSON through a server, which packs it in one piece; larger pages were not faster.
const MAX_VALUES = 200_000;

const shape = z.looseObject({
  vector_dimension: z.int().min(1),
  distance_metric: z.enum(['cosine', 'euclidean', 'dot']),
});

/** @throws ConnectorError `invalid_argument` for a connector that holds no vectors. */
export function shapeOf(connector: ConnectorAnswer): z.output<typeof shape> {
  if (connector.connector_type !== 'vector')
    throw new ConnectorError(
      'invalid_argument',
      `${connector.name} is a ${connector.connector_type} connector; this needs a vector one`,
    );
  return parseWith(shape, connector, connector.name);
}

/** All pages after a cursor, the next one being read while one is used. */
export async function* pages(
  session: CommandSession,
  connector: ConnectorAnswer,
  cursor?: string,
): AsyncGenerator<Page> {
  const limit = Math.max(
    1,
    Math.min(MAX_RECORDS, Math.floor(MAX_VALUES / shapeOf(connector).vector_dimension)),
  );
  const read = (from: string | undefined): Promise<Page> => {
    const page = session.run(vectorList, { limit, cursor: from, include_values: true }, { connector });
    // It may fail while the page before it is still being used: whoever asks for it is told.
    page.catch(() => {});
    return page;
  };
  for (let next: Promise<Page> | undefined = read(cursor); next;) {
    const page: Page = await next;
    next = page.next_cursor === undefined ? undefined : read(page.next_cursor);
    yield page;
  }
}
