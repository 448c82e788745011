import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { systemClock } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import type { Answer, Http, Request } from './http.ts';
import { Root } from './root.ts';
import { sweep } from './sweep.ts';
import { temporaryName } from './temporary.ts';

/** A server whose only folder holds what `names` gives, and that answers 204 to everything else. */
function serverOf(names: Iterable<string>) {
  const asked: Request[] = [];
  const read = { count: 0 };
  const pieces = function* () {
    yield '<multistatus xmlns="DAV:">';
    for (const name of names) {
      read.count += 1;
      yield `<response><href>/dav/${name}</href><propstat><prop/></propstat></response>`;
    }
    yield '</multistatus>';
  };
  const http = {
    clock: systemClock,
    discard: () => {},
    async send(request: Request) {
      asked.push(request);
      const isListing = request.method === 'PROPFIND';
      const body = Readable.from(isListing ? pieces() : [], { objectMode: true }).map((text: string) =>
        Buffer.from(text),
      );
      return Object.assign(body, { statusCode: isListing ? 207 : 204, headers: {} }) as unknown as Answer;
    },
  } as unknown as Http;
  return { asked, read, server: { http, root: new Root('http://host/dav') } };
}

const abandoned = (): string => temporaryName(Date.now() - 2 * 86_400_000);

it('removes what was abandoned and nothing else', async () => {
  const { server, asked } = serverOf(['kept', abandoned(), temporaryName(Date.now()), abandoned()]);
  expect(await sweep(server, NEVER)).toBe(2);
  expect(asked.filter(({ method }) => method === 'DELETE')).toHaveLength(2);
});

it.each([
  ['files', (): string => 'kept'],
  ['abandoned writes', abandoned],
] as const)('ends where a server tells of %s without end, which nobody waits for', async (_what, name) => {
  const endless = function* (): Generator<string> {
    for (let i = 0; i < 300_000; i++) yield name();
  };
  const { server, asked, read } = serverOf(endless());
  await sweep(server, NEVER);
  expect(read.count).toBeLessThan(260_000);
  expect(asked.length).toBeLessThan(1_100);
});
