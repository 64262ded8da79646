package exercise

import (
	"bytes"
	"io"
	"sync"
)

// renewalLog passes the wrapper's log on and counts what it says about renewal, which the wrappers
// tell in no other way. Both eras use the same words.
type renewalLog struct {
	to       io.Writer
	mutex    sync.Mutex
	renewals int
	stopped  bool
}

var (
	renewedLine = []byte("successfully renewed token")
	stoppedLine = []byte("shutting down token renewal")
)

// Write takes one log line, as hclog writes them.
func (l *renewalLog) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if bytes.Contains(line, renewedLine) {
		l.renewals++
	}
	if bytes.Contains(line, stoppedLine) {
		l.stopped = true
	}
	return l.to.Write(line)
}

func (l *renewalLog) counts() (renewals int, stopped bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.renewals, l.stopped
}
