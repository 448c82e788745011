/** The official clients of file backends as somebody calls them who has no registry: what connectors are measured against. */
import { connect } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, paginateListObjectsV2, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { Operator } from 'opendal';
import SftpClient from 'ssh2-sftp-client';
import { createClient } from 'webdav';

/** Parts of a large upload, and how many are on the way at once: those of the drivers. */
const PART_BYTES = 8 * 2 ** 20;
const PARTS_AT_ONCE = 4;

/** A folder, bucket or container. */
export type BareFiles = {
  write(name: string, content: Buffer): Promise<unknown>;
  read(name: string): Promise<Uint8Array>;
  /** How many files there are below a prefix that ends in `/`. */
  list(prefix: string): Promise<number>;
  upload(name: string, content: AsyncIterable<Uint8Array>): Promise<unknown>;
  /** How many bytes came. */
  download(name: string): Promise<number>;
  close(): Promise<void>;
};

/** What a server of the S3 protocol is reached with. */
export type S3Access = {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
};

/** `@aws-sdk/client-s3`. */
export function bareS3({ endpoint, region, bucket, ...credentials }: S3Access): BareFiles {
  const client = new S3Client({
    ...{ endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 },
    ...{ requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' },
  });
  const get = (name: string) => client.send(new GetObjectCommand({ Bucket: bucket, Key: name }));
  return {
    write: (name, content) => client.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: content })),
    async read(name) {
      return (await (await get(name)).Body?.transformToByteArray()) ?? new Uint8Array();
    },
    async list(prefix) {
      let count = 0;
      for await (const { Contents } of paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix }))
        count += Contents?.length ?? 0;
      return count;
    },
    upload: (name, content) =>
      new Upload({
        client,
        params: { Bucket: bucket, Key: name, Body: Readable.from(content) },
        partSize: PART_BYTES,
        queueSize: PARTS_AT_ONCE,
      }).done(),
    // In Node the body is a stream of Node's.
    download: async (name) => bytesOf((await get(name)).Body as Readable),
    close: async () => client.destroy(),
  };
}

/** What an Azure container is reached with. */
export type AzureAccess = {
  readonly endpoint: string;
  readonly account: string;
  readonly key: string;
  readonly container: string;
};

/** `@azure/storage-blob`. */
export function bareAzure({ endpoint, account, key, container: name }: AzureAccess): BareFiles {
  const container = new ContainerClient(`${endpoint}/${name}`, new StorageSharedKeyCredential(account, key));
  return {
    write: (blob, content) => container.getBlockBlobClient(blob).upload(content, content.length),
    read: (blob) => container.getBlockBlobClient(blob).downloadToBuffer(),
    async list(prefix) {
      let count = 0;
      for await (const page of container.listBlobsFlat({ prefix }).byPage({ maxPageSize: 1_000 }))
        count += page.segment.blobItems.length;
      return count;
    },
    upload: (blob, content) =>
      container.getBlockBlobClient(blob).uploadStream(Readable.from(content), PART_BYTES, PARTS_AT_ONCE),
    async download(blob) {
      const { readableStreamBody } = await container.getBlockBlobClient(blob).download();
      return bytesOf(readableStreamBody ?? []);
    },
    close: async () => {},
  };
}

/** What an SFTP server is reached with, and the folder below which everything lies. */
export type SftpAccess = {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly privateKey: string;
  readonly root: string;
};

/** `ssh2-sftp-client`, on a socket that does not wait for more: by itself a call takes 44 ms for that. */
export async function bareSftp({ root, host, port, ...login }: SftpAccess): Promise<BareFiles> {
  const client = new SftpClient();
  const sock = connect(port, host).setNoDelay(true);
  await client.connect({ ...login, sock });
  const at = (name: string): string => `${root}/${name}`;
  return {
    write: (name, content) => client.put(content, at(name)),
    // Without a target the client answers a buffer.
    read: async (name) => (await client.get(at(name))) as Buffer,
    list: async (prefix) => (await client.list(at(prefix))).length,
    upload: (name, content) => client.put(Readable.from(content), at(name)),
    async download(name) {
      let bytes = 0;
      await client.get(
        at(name),
        new Writable({
          write(chunk: Buffer, _encoding, done) {
            bytes += chunk.length;
            done();
          },
        }),
      );
      return bytes;
    },
    close: async () => void (await client.end()),
  };
}

/** What a WebDAV server is reached with. */
export type WebdavAccess = {
  readonly endpoint: string;
  readonly username: string;
  readonly password: string;
};

/** `webdav`, to a server that asks nobody who he is. */
export function bareWebdav(endpoint: string): BareFiles {
  const client = createClient(endpoint);
  return {
    write: (name, content) => client.putFileContents(`/${name}`, content),
    read: async (name) => (await client.getFileContents(`/${name}`)) as Buffer,
    list: async (prefix) => ((await client.getDirectoryContents(`/${prefix}`)) as unknown[]).length,
    // Streams of Node's under types of the client's own; the callback comes with the server's answer.
    async upload(name, content) {
      const { promise, resolve } = Promise.withResolvers<unknown>();
      const into = client.createWriteStream(`/${name}`, {}, resolve) as unknown as Writable;
      await pipeline(Readable.from(content), into);
      await promise;
    },
    download: (name) => bytesOf(client.createReadStream(`/${name}`) as unknown as Readable),
    close: async () => {},
  };
}

/** OpenDAL on the same server, for comparison alone: `scheme` and `options` are its own. */
export function opendal(scheme: string, options: Record<string, string>): BareFiles {
  const operator = new Operator(scheme, options);
  return {
    write: (name, content) => operator.write(name, content),
    read: (name) => operator.read(name),
    list: async (prefix) => (await operator.list(prefix, { recursive: true })).length,
    async upload(name, content) {
      const writer = await operator.writer(name);
      for await (const chunk of content) await writer.write(Buffer.from(chunk));
      await writer.close();
    },
    async download(name) {
      const reader = await operator.reader(name);
      return bytesOf(reader.createReadStream());
    },
    close: async () => {},
  };
}

async function bytesOf(body: AsyncIterable<unknown> | Iterable<unknown>): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) bytes += (chunk as Uint8Array).length; // streams of bytes, all of them
  return bytes;
}
