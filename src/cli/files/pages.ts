import { fileList } from '../../operations/file.ts';
import type { Answer } from '../../operations/operation.ts';
import type { CommandSession } from '../command-session.ts';
import type { Remote } from './remote.ts';

/** A file or folder as a listing has it. */
export type ListedFile = Answer<typeof fileList>['files'][number];

/** All entries of a listing page by page, the next page being read while one is used. */
export async function* filePages(
  session: CommandSession,
  { connector, path }: Remote,
  recursive: boolean,
): AsyncGenerator<readonly ListedFile[]> {
  const read = (cursor: string | undefined) => {
    const page = session.run(fileList, { path: path === '' ? '/' : path, recursive, cursor }, { connector });
    // It may fail while the page before it is still being used: whoever asks for it is told.
    page.catch(() => {});
    return page;
  };
  for (let next: ReturnType<typeof read> | undefined = read(undefined); next;) {
    const { files, next_cursor: cursor }: Answer<typeof fileList> = await next;
    next = cursor === undefined ? undefined : read(cursor);
    yield files;
  }
}
