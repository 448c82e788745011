# connector-registry as a server. No Docker engine ran this where it was written; buildah built it on a stand-in for the base
# image, and test/deploy walks its last steps on plain folders.
#
#   docker build -t connector-registry .
#   docker run -p 127.0.0.1:7420:7420 -v connectors:/data connector-registry
#
# It speaks plain HTTP, so that without the 127.0.0.1 everybody on the way would read the API keys; see docs/operations.md.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No script of a package runs at install: none is needed, and what is not run cannot do harm.
RUN npm ci --ignore-scripts
COPY . .
RUN node scripts/build.ts

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts/production-packages.mjs scripts/
# What providers need that are used, in the versions of the lock file. The first five are PostgreSQL, Redis, and what
# embedded engines run on; more by --build-arg PEERS="pg ioredis @aws-sdk/client-s3 @aws-sdk/s3-request-presigner".
ARG PEERS="pg ioredis @zvec/zvec deno esbuild"
RUN node scripts/production-packages.mjs $PEERS && npm ci --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    CONNECTORS_DATA_DIR=/data \
    CONNECTORS_HOST=0.0.0.0 \
    # Whatever stands before a container encrypts; see docs/operations.md.
    CONNECTORS_INSECURE_HTTP=true
WORKDIR /app
COPY --from=packages /app/package.json ./
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY LICENSE ./
# The application belongs to root and is only read; what changes is in one volume.
RUN mkdir /data && chown node:node /data && chmod 700 /data
VOLUME /data
USER node
EXPOSE 7420
STOPSIGNAL SIGTERM
# By Node itself: there is no curl in the image.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.CONNECTORS_PORT || 7420}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Without a shell between, so that SIGTERM arrives.
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["serve"]
