import { type Clock, ConnectorError } from '../../../driver.ts';
import { type Api, understood } from './api.ts';
import { notGoogle, type Subject } from './errors.ts';
import { objectResource, type ObjectResource } from './object.ts';

/** How often the backend may take nothing of what it is sent, one time after another. */
const MAX_IDLE_ANSWERS = 3;
const CANCEL_LIMIT_MS = 5000;

/** What the two kinds of upload have in common. */
export type UploadRequest = {
  readonly path: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly contentType: string;
  readonly subject: Subject;
};

/**
 * A resumable upload that has begun: https://cloud.google.com/storage/docs/performing-resumable-uploads. It is
 * forgotten by the backend after a week, or when it is cancelled.
 */
export interface UploadSession {
  /** Sends one chunk after the other; with the last, the file that was written. */
  put(bytes: Uint8Array, isLast: boolean, signal: AbortSignal): Promise<ObjectResource | undefined>;
  cancel(signal: AbortSignal): Promise<void>;
}

export async function startSession(
  api: Api,
  { path, query, resource, contentType, subject }: UploadRequest,
  signal: AbortSignal,
): Promise<UploadSession> {
  const response = await api.send(
    {
      method: 'POST',
      path,
      query: { ...query, uploadType: 'resumable' },
      headers: {
        'content-type': 'application/json; charset=UTF-8',
        'x-upload-content-type': contentType,
      },
      body: JSON.stringify(resource),
      subject,
    },
    signal,
  );
  await response.body?.cancel();
  const session = { path, query: sessionQuery(response, path), subject };
  let sentBytes = 0;

  const putPart = async (part: Uint8Array, totalBytes: number | undefined, at: AbortSignal) => {
    const range = part.byteLength === 0 ? '*' : `${sentBytes}-${sentBytes + part.byteLength - 1}`;
    const headers = { 'content-range': `bytes ${range}/${totalBytes ?? '*'}` };
    return api.send({ ...session, method: 'PUT', headers, body: part, alsoFine: [308] }, at);
  };

  return {
    async put(bytes, isLast, at) {
      const end = sentBytes + bytes.byteLength;
      let idleAnswers = 0;
      for (let rest = bytes; ;) {
        const answer = await putPart(rest, isLast ? end : undefined, at);
        if (answer.status !== 308) {
          const object = understood(await answer.text(), objectResource);
          if (!isLast || object.size !== end) throw notGoogle('an upload that ended before its last byte');
          return object;
        }
        await answer.body?.cancel();
        const keptBytes = keptOf(answer, sentBytes, sentBytes + rest.byteLength);
        idleAnswers = keptBytes === sentBytes ? idleAnswers + 1 : 0;
        if (idleAnswers >= MAX_IDLE_ANSWERS)
          throw new ConnectorError('unavailable', 'the backend takes no more of the upload');
        rest = rest.subarray(keptBytes - sentBytes);
        sentBytes = keptBytes;
        if (rest.byteLength === 0 && !isLast) return undefined;
      }
    },
    async cancel(at) {
      // 499 is the answer of a cancelled upload.
      const answer = await api.send({ ...session, method: 'DELETE', alsoFine: [404, 410, 499] }, at);
      await answer.body?.cancel();
    },
  };
}

/** The session's address, of which only the query is taken: what is sent there is nobody's to see but our endpoint's. */
function sessionQuery(response: Response, path: string): Readonly<Record<string, string>> {
  const location = response.headers.get('location') ?? '';
  const url = URL.canParse(location) ? new URL(location) : undefined;
  if (!url?.searchParams.has('upload_id') || url.pathname !== path)
    throw notGoogle('an upload without an address');
  return Object.fromEntries(url.searchParams);
}

/** How many bytes the backend has kept, which need not be all. */
function keptOf(answer: Response, atLeast: number, atMost: number): number {
  const range = answer.headers.get('range');
  const kept = range === null ? 0 : Number(/^bytes=0-(\d+)$/.exec(range)?.[1]) + 1;
  if (!(kept >= atLeast && kept <= atMost)) throw notGoogle('an upload that goes back');
  return kept;
}

/** Uploads that are being cancelled; nobody who gave one up waits for that. */
export interface Cancellations {
  cancel(session: UploadSession): void;
  /** Resolves when all are through, which takes five seconds at most. */
  settled(): Promise<void>;
}

export function cancellations(clock: Clock): Cancellations {
  const running = new Set<Promise<void>>();
  return {
    cancel(session) {
      const limit = new AbortController();
      const stop = clock.inBackground(CANCEL_LIMIT_MS, () => limit.abort());
      const task = session
        .cancel(limit.signal)
        // The backend forgets the upload by itself, after a week.
        .catch(() => {})
        .finally(() => {
          stop();
          running.delete(task);
        });
      running.add(task);
    },
    settled: async () => void (await Promise.all(running)),
  };
}
