package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/vault"
)

type settings struct {
	listen      string
	cluster     string
	storage     string
	raft        bool
	node        string
	unsealDelay time.Duration
	unsealRetry time.Duration
	logLevel    string
	azure       azure
	seal        *sealStanza
	oldSeal     *sealStanza
	tls         tlsFiles
}

// tlsFiles are those of the listener; without them it speaks plain HTTP.
type tlsFiles struct{ certificate, key string }

// prepare makes a core ready that no auto-unseal makes ready, and returns the root token.
type prepare func(core *vault.Core, url string) (string, error)

// itself trusts whatever certificate our own listener has.
var itself = http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
}}

func untilSignalled() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

func parseSettings(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := newFlags("server", stderr)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:0", "address of the API, plain HTTP")
	flags.StringVar(&s.storage, "storage", "", "directory of the storage")
	flags.BoolVar(&s.raft, "raft", false, "raft storage instead of file storage")
	flags.StringVar(&s.node, "raft-node", "node1", "name of this raft node")
	flags.StringVar(&s.cluster, "raft-cluster", "", "raft's own address (default: API port + 1)")
	flags.DurationVar(&s.unsealDelay, "unseal-delay", 0, "pause before the first unsealing")
	flags.DurationVar(&s.unsealRetry, "unseal-retry", 5*time.Second, "pause between unsealings")
	flags.StringVar(&s.logLevel, "log-level", "info", "trace, debug, info, warn or error")
	azureFlags(flags, &s.azure)
	s.seal = sealFlags(flags, "seal-", "transit")
	s.oldSeal = sealFlags(flags, "old-seal-", "")
	err := flags.Parse(args)
	return s, err
}

// serve runs the server until SIGINT or SIGTERM. The order is that of `vault server`: storage, then
// the seal (whose failure is fatal), then the core, and the unseal loop before the first request.
func serve(args []string, stdout, stderr io.Writer) error {
	s, err := parseSettings(args, stderr)
	if err != nil {
		return err
	}
	ctx, stop := untilSignalled()
	defer stop()

	level := hclog.LevelFromString(s.logLevel)
	logger := hclog.New(&hclog.LoggerOptions{Output: stderr, Level: level})
	if err := os.MkdirAll(s.storage, 0o700); err != nil {
		return fmt.Errorf("Error initializing storage: %w", err)
	}
	storage, err := openStorage(s.storage, s.raft, s.node, logger)
	if err != nil {
		return fmt.Errorf("Error initializing storage: %w", err)
	}
	if err := s.azure.emulate(); err != nil {
		return err
	}
	barrierSeal, err := newSeal(s.seal, logger)
	if err != nil {
		return err
	}
	defer barrierSeal.Finalize(context.Background())
	unwrapSeal, err := newOldSeal(s.oldSeal, logger)
	if err != nil {
		return err
	}
	return serveCore(ctx, s, storage, seals{barrierSeal, unwrapSeal}, logger, stdout, nil)
}

// seals are those of the two stanzas of a migration; without one, unwrap is nil.
type seals struct{ barrier, unwrap vault.Seal }

func serveCore(
	ctx context.Context,
	s settings,
	storage physical.Backend,
	sealed seals,
	logger hclog.Logger,
	stdout io.Writer,
	prepare prepare,
) error {
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("Error initializing listener: %w", err)
	}
	core, err := newCore(s, storage, sealed, listener.Addr(), logger)
	if err != nil {
		return fmt.Errorf("Error initializing core: %w", err)
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core})
	core.SetClusterHandler(handler)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	url := "http://" + listener.Addr().String()
	if s.tls.certificate == "" {
		go server.Serve(listener)
	} else {
		url = "https://" + listener.Addr().String()
		go server.ServeTLS(listener, s.tls.certificate, s.tls.key)
	}
	ready := "READY " + listener.Addr().String()
	if prepare == nil {
		go unsealLoop(ctx, core, s, logger)
	} else {
		root, err := prepare(core, url)
		if err != nil {
			return err
		}
		ready += " " + root
	}
	fmt.Fprintln(stdout, ready)

	select {
	case <-ctx.Done():
	case <-core.ShutdownDone():
		return fmt.Errorf("Vault core was shut down")
	}
	server.Close()
	return core.ShutdownWait()
}

func newCore(
	s settings,
	storage physical.Backend,
	sealed seals,
	addr net.Addr,
	logger hclog.Logger,
) (*vault.Core, error) {
	conf := &vault.CoreConfig{
		Physical:        storage,
		StorageType:     "file",
		Seal:            sealed.barrier,
		UnwrapSeal:      sealed.unwrap,
		RedirectAddr:    "http://" + addr.String(),
		DisableMlock:    true,
		Logger:          logger,
		BuiltinRegistry: noPlugins{},
		LogicalBackends: engines,
	}
	if !s.raft {
		return vault.NewCore(conf)
	}
	cluster, err := clusterAddr(s.cluster, addr)
	if err != nil {
		return nil, err
	}
	conf.StorageType = "raft"
	conf.HAPhysical, _ = storage.(physical.HABackend)
	conf.ClusterAddr = "https://" + cluster.String()
	core, err := vault.NewCore(conf)
	if err != nil {
		return nil, err
	}
	core.SetClusterListenerAddrs([]*net.TCPAddr{cluster})
	return core, nil
}

// clusterAddr is where raft listens: Vault's own default is the port after the API's.
func clusterAddr(given string, api net.Addr) (*net.TCPAddr, error) {
	if given != "" {
		return net.ResolveTCPAddr("tcp", given)
	}
	host, port, err := net.SplitHostPort(api.String())
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	return net.ResolveTCPAddr("tcp", net.JoinHostPort(host, strconv.Itoa(number+1)))
}

// unsealLoop is `runUnseal` of `vault server` with other pauses. The delay before the first attempt
// is not Vault's: it lets a test take the transit server away between the seal's set-up and the
// first decryption.
func unsealLoop(ctx context.Context, core *vault.Core, s settings, logger hclog.Logger) {
	pause := s.unsealDelay
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := core.UnsealWithStoredKeys(ctx)
		if err == nil {
			return
		}
		if vault.IsFatalError(err) {
			logger.Error("error unsealing core", "error", err)
			return
		}
		logger.Warn("failed to unseal core", "error", err)
		pause = s.unsealRetry
	}
}

// noPlugins answers for the catalogue of built-in plugins. The core asks it without a nil check
// when mounts are listed; the engines that tests need (kv version 1, cubbyhole, identity, system)
// are in the core itself.
type noPlugins struct{}

func (noPlugins) Contains(string, consts.PluginType) bool { return false }

func (noPlugins) Get(string, consts.PluginType) (func() (interface{}, error), bool) {
	return nil, false
}

func (noPlugins) Keys(consts.PluginType) []string { return nil }

func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}
