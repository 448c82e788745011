import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A double of Azure's List Blobs over names that are made up as they are asked for. */
export type BlobList = {
  readonly url: string;
  readonly requests: () => number;
  /** The headers of the latest request, or of one so many before it. */
  readonly heard: (before?: number) => IncomingHttpHeaders;
  /** What the next request is answered instead; several are kept in their order. */
  answerNext(status: number, headers?: OutgoingHttpHeaders, body?: string): void;
  close(): Promise<void>;
};

/**
 * Answers flat listings of `count` blobs named `all/f` and a number of six digits, in pages with markers and from a name
 * on (`startFrom`): https://learn.microsoft.com/rest/api/storageservices/list-blobs (read 2026-11-27).
 */
export async function blobList(count: number): Promise<BlobList> {
  let requests = 0;
  const heard: IncomingHttpHeaders[] = [];
  const answers: (readonly [status: number, headers: OutgoingHttpHeaders, body: string])[] = [];
  const nameOf = (index: number): string => `all/f${String(index).padStart(6, '0')}`;
  const server = createServer((request, response) => {
    requests += 1;
    heard.push(request.headers);
    request.resume();
    const answer = answers.shift();
    if (answer !== undefined) {
      const [status, headers, body] = answer;
      response.writeHead(status, { 'content-type': 'application/xml', ...headers }).end(body);
      return;
    }
    const query = new URL(request.url ?? '', 'http://double').searchParams;
    const from = Number(query.get('startFrom')?.slice('all/f'.length) ?? 0);
    const start = Number(query.get('marker') ?? from);
    const end = Math.min(count, start + Number(query.get('maxresults') ?? 5000));
    const blobs = Array.from({ length: end - start }, (_, i) => blobOf(nameOf(start + i)));
    const marker = end < count ? String(end) : '';
    response.writeHead(200, { 'content-type': 'application/xml', 'x-ms-request-id': 'double' });
    response.end(
      `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://double/" ContainerName="files">` +
        `<Blobs>${blobs.join('')}</Blobs><NextMarker>${marker}</NextMarker></EnumerationResults>`,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `http://127.0.0.1:${port}/acme`,
    requests: () => requests,
    heard: (before = 0) => heard.at(-1 - before) ?? {},
    answerNext: (status, headers = {}, body = '') => void answers.push([status, headers, body]),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function blobOf(name: string): string {
  return (
    `<Blob><Name>${name}</Name><Properties><Last-Modified>Fri, 27 Nov 2026 10:00:00 GMT</Last-Modified>` +
    `<Etag>0x8DE</Etag><Content-Length>1</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>`
  );
}
