// SPDX-License-Identifier: Apache-2.0

// Asks the library github.com/gpustack/gguf-parser-go what one GGUF file needs on the CPU:
//
//	gguf-parser FILE NUM_CTX NUM_BATCH
//
// One line of JSON with the bytes of each part, flash attention on, one slot, nothing offloaded, as the engine runs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	parser "github.com/gpustack/gguf-parser-go"
)

func number(text string) int32 {
	value, err := strconv.ParseInt(text, 10, 32)
	if err != nil || value <= 0 {
		fmt.Fprintf(os.Stderr, "gguf-parser: %q is no count of tokens\n", text)
		os.Exit(2)
	}
	return int32(value)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: gguf-parser FILE NUM_CTX NUM_BATCH")
		os.Exit(2)
	}
	// Its quickest way to read: the token tables are skipped, the file is mapped.
	file, err := parser.ParseGGUFFile(os.Args[1], parser.SkipLargeMetadata(), parser.UseMMap())
	if err != nil {
		fmt.Fprintf(os.Stderr, "gguf-parser: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	batch := number(os.Args[3])
	host := file.EstimateLLaMACppRun(parser.WithLLaMACppContextSize(number(os.Args[2])),
		parser.WithLLaMACppLogicalBatchSize(batch), parser.WithLLaMACppPhysicalBatchSize(batch),
		parser.WithParallelSize(1), parser.WithFlashAttention(), parser.WithLLaMACppOffloadLayers(0)).Devices[0]
	err = json.NewEncoder(os.Stdout).Encode(map[string]uint64{
		"weights_bytes":  uint64(host.Weight.Sum()),
		"kv_bytes":       uint64(host.KVCache.Sum()),
		"compute_bytes":  uint64(host.Computation.Sum()),
		"overhead_bytes": uint64(host.Footprint),
	})
	if err != nil {
		os.Exit(1)
	}
}
