import { unlessLocked } from './locked.ts';
import type { Answer } from './http.ts';
import type { Server } from './resources.ts';
import type { Content } from './upload.ts';

/** 202 is left out, which promises nothing yet, and 207, which tells of failures. */
export function isSuccess({ statusCode }: Answer): boolean {
  return statusCode === 200 || statusCode === 201 || statusCode === 204;
}

/** Sends the content; one that is a stream can be sent but once. */
export async function put(
  { http, root }: Server,
  path: string,
  body: Content,
  signal: AbortSignal,
): Promise<Answer> {
  const headers = { 'content-type': 'application/octet-stream' };
  const send = async () => {
    const answer = await http.send({ method: 'PUT', target: root.target(path), headers, body }, signal);
    http.discard(answer);
    return answer;
  };
  return body instanceof Uint8Array ? unlessLocked(http.clock, signal, send) : send();
}

export type Transfer = { readonly from: string; readonly to: string; readonly overwrite: boolean };

/** Has the server copy or move a file. */
export async function transfer(
  { http, root }: Server,
  method: 'COPY' | 'MOVE',
  { from, to, overwrite }: Transfer,
  signal: AbortSignal,
): Promise<Answer> {
  const headers = {
    destination: root.url(to),
    overwrite: overwrite ? 'T' : 'F',
    ...(method === 'COPY' && { depth: '0' }),
  };
  return unlessLocked(http.clock, signal, async () => {
    const answer = await http.send({ method, target: root.target(from), headers }, signal);
    http.discard(answer);
    return answer;
  });
}

/** Removes whatever has the path, and makes a folder. */
export async function change(
  { http, root }: Server,
  method: 'DELETE' | 'MKCOL',
  path: string,
  signal: AbortSignal,
): Promise<Answer> {
  const target = method === 'MKCOL' ? root.folderTarget(path) : root.target(path);
  return unlessLocked(http.clock, signal, async () => {
    const answer = await http.send({ method, target }, signal);
    http.discard(answer);
    return answer;
  });
}
