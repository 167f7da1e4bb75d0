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
ENV DATABASE_URL=/data/zegoclose.db HTTP_ADDR=127.0.0.1:8080
VOLUME /data
USER nonroot
# The program asks itself: there is no shell and no curl in here.
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s CMD ["/usr/local/bin/zegoclose", "health"]
ENTRYPOINT ["/usr/local/bin/zegoclose"]
