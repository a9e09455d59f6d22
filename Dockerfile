# All programs in one image, without a shell or an operating system.
FROM golang:1.26.8 AS build
WORKDIR /src
ENV CGO_ENABLED=0
COPY go.mod go.sum ./
COPY devserver/go.mod devserver/go.sum devserver/
RUN go mod download && cd devserver && go mod download
COPY . .
RUN go build -trimpath -ldflags=-s -o /out/bin/ ./worker ./starter ./gateway \
 && go build -trimpath -ldflags=-s -o /out/bin/simulator ./internal/simulator/cmd \
 && cd devserver && go build -trimpath -ldflags=-s -o /out/bin/devserver . \
 && mkdir -p /out/tmp /out/data && chmod 1777 /out/tmp && chown 65532:65532 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
USER 65532:65532
ENV PATH=/bin
