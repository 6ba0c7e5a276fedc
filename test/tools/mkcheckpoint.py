#!/usr/bin/env python3
"""mkcheckpoint.py SHAPE DIR --tokenizer FILE [options]

Writes a random GPT-NeoX checkpoint in the layout of Hugging Face: config.json,
generation_config.json, tokenizer.json (a copy of FILE) and model.safetensors, or shards with their
index. For tests and benches: the arithmetic and the memory of a real model, nothing sensible to
say. Needs numpy. Memory stays below a few hundred MB, whatever the shape is.

SHAPE is tiny, 1.3b, 3.8b, 5.8b or 12.8b (as Polyglot-Ko was published). The same options and seed
give the same bytes; the values of a tensor depend on seed and name alone, so that the checkpoint
in one file and the one in shards, with old or new keys, hold the same model."""
import argparse
import json
import os
import shutil
import struct
import sys
import zlib

import numpy as np

SHAPES = {  # layers, hidden, feed-forward, heads, rotary dimensions, context
    'tiny': (2, 64, 256, 4, 8, 128),
    '1.3b': (24, 2048, 8192, 16, 64, 2048),
    '3.8b': (32, 3072, 12288, 24, 64, 2048),
    '5.8b': (28, 4096, 16384, 16, 64, 2048),
    '12.8b': (40, 5120, 20480, 40, 64, 2048),
}
BLOCK = 1 << 22  # values drawn at a time


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n')[1],
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('shape', choices=SHAPES)
    p.add_argument('dir')
    p.add_argument('--tokenizer', required=True, help='tokenizer.json to copy')
    p.add_argument('--dtype', choices=['F16', 'BF16', 'F32'], default='F16')
    p.add_argument('--shards', type=int, default=1)
    p.add_argument('--keys', choices=['old', 'new'], default='old',
                   help='rotary_pct (transformers 4) or rope_parameters (transformers 5)')
    p.add_argument('--buffers', action='store_true', help='add the buffers of old checkpoints')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--layers', type=int, help='another number of layers')
    p.add_argument('--hidden', type=int)
    p.add_argument('--intermediate', type=int)
    p.add_argument('--heads', type=int)
    p.add_argument('--rotary', type=int, help='rotary dimensions of a head')
    p.add_argument('--context', type=int)
    p.add_argument('--rows', type=int, help='rows of the vocabulary (default: padded to 64)')
    p.add_argument('--act', default='gelu')
    p.add_argument('--sequential', action='store_true', help='use_parallel_residual false')
    p.add_argument('--tied', action='store_true', help='tie_word_embeddings true')
    p.add_argument('--no-attention-bias', action='store_true')
    p.add_argument('--gain', type=float, default=1.0, help='multiplies the spread of the weights')
    return p.parse_args()


def dimensions(a):
    names = ('layers', 'hidden', 'intermediate', 'heads', 'rotary', 'context')
    d = dict(zip(names, SHAPES[a.shape]))
    d.update({n: getattr(a, n) for n in names if getattr(a, n) is not None})
    if d['hidden'] % d['heads'] or d['rotary'] % 2 or d['rotary'] > d['hidden'] // d['heads']:
        sys.exit('mkcheckpoint.py: heads must divide hidden, and rotary be even and fit a head')
    return d


def vocabulary(path):
    with open(path, encoding='utf-8') as f:
        t = json.load(f)
    ids = list(t['model']['vocab'].values()) + [x['id'] for x in t.get('added_tokens', [])]
    return max(ids) + 1, {x['content']: x['id'] for x in t.get('added_tokens', [])}


def tensors(d, rows, a):
    """(name, shape, mean, spread) in an order that is not the image's."""
    E, F, L = d['hidden'], d['intermediate'], d['layers']
    out = 0.02 / (2 * L) ** 0.5
    if not a.tied:
        yield 'embed_out.weight', (rows, E), 0, 0.02
    yield 'gpt_neox.embed_in.weight', (rows, E), 0, 0.02
    yield 'gpt_neox.final_layer_norm.weight', (E,), 1, 0.05
    yield 'gpt_neox.final_layer_norm.bias', (E,), 0, 0.05
    for i in range(L):
        p = f'gpt_neox.layers.{i}.'
        for norm in ('input_layernorm', 'post_attention_layernorm'):
            yield p + norm + '.weight', (E,), 1, 0.05
            yield p + norm + '.bias', (E,), 0, 0.05
        for name, n, k, spread in (('attention.query_key_value', 3 * E, E, 0.02),
                                   ('attention.dense', E, E, out),
                                   ('mlp.dense_h_to_4h', F, E, 0.02),
                                   ('mlp.dense_4h_to_h', E, F, out)):
            yield p + name + '.weight', (n, k), 0, spread
            if name.startswith('mlp') or not a.no_attention_bias:
                yield p + name + '.bias', (n,), 0, 0.02


def buffers(d):
    """What transformers kept in a state_dict before 4.30: masks and frequencies, not weights."""
    n, r = d['context'], d['rotary']
    mask = np.tril(np.ones((n, n), dtype=np.uint8)).reshape(1, 1, n, n)
    freq = (1.0 / 10000 ** (np.arange(0, r, 2, dtype=np.float32) / r)).astype('<f4')
    for i in range(d['layers']):
        p = f'gpt_neox.layers.{i}.attention.'
        yield p + 'bias', 'BOOL', mask
        yield p + 'masked_bias', 'F32', np.array(-1e9, dtype='<f4')
        yield p + 'rotary_emb.inv_freq', 'F32', freq


def encode(x, dtype):
    if dtype == 'F16':
        return x.astype('<f2').tobytes()
    if dtype == 'F32':
        return x.astype('<f4').tobytes()
    bits = x.astype('<f4').view('<u4')  # BF16: the upper half, rounded to nearest even
    return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype('<u2').tobytes()


def draw(f, name, shape, mean, spread, a):
    rng = np.random.default_rng([a.seed, zlib.crc32(name.encode())])
    left = int(np.prod(shape))
    while left > 0:
        n = min(left, BLOCK)
        x = rng.standard_normal(n, dtype=np.float32) * np.float32(spread * (a.gain if mean == 0 else 1))
        f.write(encode(x + np.float32(mean), a.dtype))
        left -= n


def write_shard(path, items, a):
    """items: (name, dtype, shape, what), what being (mean, spread) or an array."""
    width = {'F16': 2, 'BF16': 2, 'F32': 4, 'BOOL': 1}
    head, at = {'__metadata__': {'format': 'pt'}}, 0
    for name, dtype, shape, _ in items:
        size = width[dtype] * int(np.prod(shape))
        head[name] = {'dtype': dtype, 'shape': list(shape), 'data_offsets': [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for name, _, shape, what in items:
            if isinstance(what, tuple):
                draw(f, name, shape, *what, a)
            else:
                f.write(what.tobytes())
    return at


def config(d, rows, end, a):
    c = dict(architectures=['GPTNeoXForCausalLM'], model_type='gpt_neox', bos_token_id=end,
             eos_token_id=end, hidden_act=a.act, hidden_size=d['hidden'],
             intermediate_size=d['intermediate'], initializer_range=0.02, layer_norm_eps=1e-5,
             max_position_embeddings=d['context'], num_attention_heads=d['heads'],
             num_hidden_layers=d['layers'], tie_word_embeddings=a.tied,
             use_parallel_residual=not a.sequential, use_cache=True, vocab_size=rows)
    share = d['rotary'] / (d['hidden'] // d['heads'])
    if a.no_attention_bias:
        c['attention_bias'] = False
    if a.keys == 'old':
        c.update(rotary_pct=share, rotary_emb_base=10000, torch_dtype={
            'F16': 'float16', 'BF16': 'bfloat16', 'F32': 'float32'}[a.dtype])
    else:
        c['rope_parameters'] = dict(partial_rotary_factor=share, rope_theta=10000.0,
                                    rope_type='default')
    return c


def main():
    a = arguments()
    d = dimensions(a)
    n_ids, special = vocabulary(a.tokenizer)
    rows = a.rows if a.rows is not None else -(-n_ids // 64) * 64
    os.makedirs(a.dir, exist_ok=True)
    items = [(n, a.dtype, s, (m, spread)) for n, s, m, spread in tensors(d, rows, a)]
    if a.buffers:
        items += [(n, t, x.shape, x) for n, t, x in buffers(d)]
    per, where, total = -(-len(items) // a.shards), {}, 0
    for k in range(a.shards):
        name = ('model.safetensors' if a.shards == 1
                else f'model-{k + 1:05d}-of-{a.shards:05d}.safetensors')
        part = items[k * per:(k + 1) * per]
        total += write_shard(os.path.join(a.dir, name), part, a)
        where.update({n: name for n, _, _, _ in part})

    def dump(name, what):
        with open(os.path.join(a.dir, name), 'w', encoding='utf-8') as f:
            json.dump(what, f, indent=2)
            f.write('\n')

    if a.shards > 1:
        dump('model.safetensors.index.json', dict(metadata=dict(total_size=total), weight_map=where))
    end = special.get('<|endoftext|>', 0)
    dump('config.json', config(d, rows, end, a))
    dump('generation_config.json', dict(bos_token_id=end, eos_token_id=end))
    shutil.copyfile(a.tokenizer, os.path.join(a.dir, 'tokenizer.json'))
    print(f'{a.dir}: {d["layers"]} layers, hidden {d["hidden"]}, {rows} rows, {total:,} bytes')


if __name__ == '__main__':
    main()
