# The service, as an image: `docker build -t ipam-server .`
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked -p ipam-server && \
    cp target/dist/ipam-server /usr/local/bin/

FROM debian:12-slim
RUN useradd --system --create-home --home-dir /var/lib/ipam ipam
COPY --from=build /usr/local/bin/ipam-server /usr/local/bin/
COPY LICENSE /usr/share/doc/ipam-server/LICENSE
USER ipam
# With no database given, the SQLite file ipam.db is made here: mount a volume.
WORKDIR /var/lib/ipam
VOLUME /var/lib/ipam
EXPOSE 7070
ENTRYPOINT ["ipam-server"]
# Beyond loopback the service wants tokens (--admin-token-file, --node-token-file): mount them, or see docker-compose.yml.
CMD ["--listen", "0.0.0.0:7070"]
