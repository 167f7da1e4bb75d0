# A static binary on an image with nothing but CA certificates and an unprivileged user.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/zegoclose ./cmd/zegoclose \
 && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/zegoclose /usr/local/bin/zegoclose
COPY --from=build --chown=nonroot:nonroot /out/data /data
ENV DATABASE_URL=/data/zegoclose.db
VOLUME /data
USER nonroot
ENTRYPOINT ["/usr/local/bin/zegoclose"]
