#!/usr/bin/env python3
"""mk_golden.py OUTDIR

Makes the small random GPT-NeoX checkpoints of test/golden and what transformers computes from them
in float32 (golden.json). Needs torch, transformers, tokenizers, safetensors; the C code is never
asked. Each checkpoint tries another corner of the format:

  neox         parallel residual, heads of 12, F16, rope_parameters
  neox-seq     sequential residual, heads of 24, F16, rotary_pct, quarter rotation
  neox-old     old keys, the buffers old checkpoints carry, heads of 15, gelu_new, F16, eos only in the tokenizer
  neox-bf16    BF16, no attention bias
  neox-shards  F32 in three shards with an index

The tokenizer is trained here, on the sentences below, which were written for this purpose.
"""
import json
import os
import sys

import numpy as np
import tokenizers
import torch
from safetensors.torch import save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

SENTENCES = """
오늘은 아침부터 비가 내려서 우산을 들고 집을 나섰다.
도서관에서 빌린 책을 다 읽고 나니 마음이 따뜻해졌다.
데이터베이스에 질문을 보내면 모델이 문장을 이어서 써 준다.
저녁에는 친구와 함께 강가를 걸으며 오래 이야기를 나누었다.
이 영화는 처음부터 끝까지 눈을 뗄 수 없을 만큼 재미있었다.
배우들의 연기는 훌륭했지만 이야기가 조금 길고 지루했다.
맛있는 김치찌개를 끓이려면 잘 익은 김치가 꼭 있어야 한다.
주말마다 산에 오르면 몸도 마음도 가벼워지는 것을 느낀다.
서울에서 부산까지 기차를 타고 가면 세 시간쯤 걸린다.
학생들은 새로운 문제를 풀면서 생각하는 방법을 배운다.
할머니께서는 봄이 되면 마당에 꽃을 심고 물을 주신다.
컴퓨터가 느려지면 먼저 무엇이 메모리를 쓰는지 살펴본다.
음악을 들으며 일하면 시간이 빨리 지나가는 것 같다.
바다를 보러 가는 길에 작은 식당에서 점심을 먹었다.
우리는 서로 다른 생각을 하지만 같은 곳을 바라보고 있다.
감동적인 장면이 많아서 보는 내내 눈물이 났다. 정말 최고!
기대하지 않고 봤는데 생각보다 훨씬 좋았다. 다시 보고 싶다.
시간이 아깝다는 생각이 들 만큼 실망스러운 작품이었다.
The quick answer is not always the right answer, 그래도 시도한다.
버전 1.3 에서는 12개의 문제를 고쳤고 3.8배 빨라졌다.
""".strip().split('\n')

PROMPTS = [
    '이 영화는 정말',
    '오늘은 비가 내려서 우산을 들고',
    '데이터베이스에 질문을 보내면 모델이',
    'The answer is 42, 그래도 봄이 되면 꽃이 핀다.',
    '맛',
    '뷁쉙 😀 ﷺ',
    '서울에서 부산까지 기차를 타고 가면 세 시간쯤 걸린다. 바다를 보러 가는 길에 작은 식당에서 점심을 먹었다.',
    '시간이 아깝다<|sep|>정말 최고!',
]
HEAD_SPECIALS = ['<|unused0|>', '<|unused1|>', '<|endoftext|>', '<|sep|>']
TAIL_SPECIALS = ['<|acc|>', '<|tel|>', '<|rrn|>']
N_IDS = 593  # ids of the tokenizer
N_ROWS = 608  # rows of the tensors
N_GREEDY = 24

CHECKPOINTS = {
    'neox': dict(hidden=48, layers=2, heads=4, rotary=0.5, parallel=True, act='gelu', dtype='float16', seed=11),
    'neox-seq': dict(hidden=48, layers=3, heads=2, rotary=0.25, parallel=False, act='gelu', dtype='float16', seed=12),
    'neox-old': dict(hidden=60, layers=2, heads=4, rotary=0.4, parallel=True, act='gelu_new', dtype='float16', seed=13),
    'neox-bf16': dict(hidden=64, layers=2, heads=2, rotary=0.5, parallel=True, act='gelu', dtype='bfloat16', seed=14,
                      bias=False),
    'neox-shards': dict(hidden=32, layers=3, heads=2, rotary=1.0, parallel=True, act='gelu', dtype='float32', seed=15,
                        shards=3),
}


def make_tokenizer(path):
    """A byte-level BPE laid out like the family's: specials, byte letters, merges, specials."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=N_IDS - len(TAIL_SPECIALS), special_tokens=HEAD_SPECIALS, show_progress=False,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    trained.train_from_iterator(SENTENCES, trainer)
    trained.normalizer = tokenizers.normalizers.NFC()
    trained.decoder = tokenizers.decoders.ByteLevel()
    trained.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    trained.add_special_tokens(TAIL_SPECIALS)
    assert trained.get_vocab_size() == N_IDS, trained.get_vocab_size()
    text = trained.to_str()
    with open(path, 'w', encoding='utf-8') as f:
        f.write(json.dumps(json.loads(text), ensure_ascii=False, separators=(',', ':')))
    return trained


def config_of(c):
    return GPTNeoXConfig(
        vocab_size=N_ROWS, hidden_size=c['hidden'], num_hidden_layers=c['layers'], num_attention_heads=c['heads'],
        intermediate_size=4 * c['hidden'], hidden_act=c['act'], max_position_embeddings=128, layer_norm_eps=1e-5,
        rope_parameters=dict(rope_type='default', rope_theta=10000.0, partial_rotary_factor=c['rotary']),
        use_parallel_residual=c['parallel'], attention_bias=c.get('bias', True), tie_word_embeddings=False,
        bos_token_id=2, eos_token_id=2, initializer_range=0.2, attention_dropout=0.0, hidden_dropout=0.0)


def randomize(model, c):
    """Weights that make sharp, varied outputs; rounded to the type of the file."""
    dtype = getattr(torch, c['dtype'])
    generator = torch.Generator().manual_seed(c['seed'])
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if 'layernorm' in name or 'layer_norm' in name:
                value = noise * 0.1 + (1.0 if name.endswith('weight') else 0.0)
            else:
                value = noise * (0.1 if name.endswith('bias') else 0.2)
            p.copy_(value.to(dtype).to(torch.float32))


def old_config(c):
    config = dict(architectures=['GPTNeoXForCausalLM'], bos_token_id=0, eos_token_id=0, hidden_act=c['act'],
                  hidden_size=c['hidden'], initializer_range=0.02, intermediate_size=4 * c['hidden'],
                  layer_norm_eps=1e-5, max_position_embeddings=128, model_type='gpt_neox',
                  num_attention_heads=c['heads'], num_hidden_layers=c['layers'], rotary_emb_base=10000,
                  rotary_pct=c['rotary'], tie_word_embeddings=False, torch_dtype=c['dtype'], use_cache=True,
                  transformers_version='4.23.1', use_parallel_residual=c['parallel'], vocab_size=N_ROWS)
    return config


def old_buffers(c):
    """What checkpoints of transformers 4.2x hold besides weights."""
    out = {}
    n_rot = int(c['hidden'] // c['heads'] * c['rotary'])
    for i in range(c['layers']):
        p = f'gpt_neox.layers.{i}.attention.'
        out[p + 'bias'] = torch.tril(torch.ones((1, 1, 128, 128), dtype=torch.uint8))
        out[p + 'masked_bias'] = torch.tensor(-1e9)
        out[p + 'rotary_emb.inv_freq'] = 1.0 / 10000 ** (torch.arange(0, n_rot, 2).float() / n_rot)
    return out


def save_checkpoint(model, c, folder, name):
    dtype = getattr(torch, c['dtype'])
    tensors = {k: v.detach().to(dtype).contiguous() for k, v in model.named_parameters()}
    if name == 'neox-old':
        tensors.update(old_buffers(c))
        config = old_config(c)
    else:
        config = model.config.to_dict()
        config['architectures'] = ['GPTNeoXForCausalLM']
        config['dtype'] = c['dtype']
        if name == 'neox-seq':
            config.pop('rope_parameters')
            config.update(rotary_pct=c['rotary'], rotary_emb_base=10000)
        generation = dict(_from_model_config=True, bos_token_id=2, eos_token_id=[2])
        json.dump(generation, open(f'{folder}/generation_config.json', 'w'), indent=2)
    json.dump(config, open(f'{folder}/config.json', 'w'), indent=2, default=str)

    n = c.get('shards', 1)
    if n == 1:
        save_file(tensors, f'{folder}/model.safetensors', metadata={'format': 'pt'})
        return
    names = list(tensors)
    index = {}
    for k in range(n):
        file = f'model-{k + 1:05d}-of-{n:05d}.safetensors'
        part = names[k::n]
        save_file({t: tensors[t] for t in part}, f'{folder}/{file}', metadata={'format': 'pt'})
        index.update({t: file for t in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    json.dump({'metadata': {'total_size': total}, 'weight_map': dict(sorted(index.items()))},
              open(f'{folder}/model.safetensors.index.json', 'w'), indent=1)


def rounded(v, digits=6):
    return [round(float(x), digits) for x in v]


def unit(v):
    return v / v.norm()


def golden_of(model, tokenizer, c, prompt):
    ids = tokenizer.encode(prompt).ids
    x = torch.tensor([ids])
    with torch.no_grad():
        out = model(x, output_hidden_states=True)
    logp = torch.log_softmax(out.logits[0].double(), -1)
    top = torch.topk(logp[-1], 5)
    nll = -sum(float(logp[i, ids[i + 1]]) for i in range(len(ids) - 1))
    inner = c['layers'] - 1
    hidden = out.hidden_states  # [0] embeddings, [k] after layer k, [-1] after the final LayerNorm

    greedy, margin, seq = [], 1e9, list(ids)
    while len(greedy) < N_GREEDY:
        with torch.no_grad():
            logits = model(torch.tensor([seq])).logits[0, -1, :N_IDS]
        best = torch.topk(logits, 2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        if int(best.indices[0]) == 2:
            break
        greedy.append(int(best.indices[0]))
        seq.append(greedy[-1])
    return dict(prompt=prompt, ids=ids, nll=nll, top5_ids=top.indices.tolist(), top5_logprobs=rounded(top.values),
                embedding_mean_normalized=rounded(unit(hidden[-1][0].mean(0))),
                embedding_last_normalized=rounded(unit(hidden[-1][0][-1])), inner_layer=inner,
                embedding_inner_mean=rounded(hidden[inner][0].mean(0)),
                embedding_input_mean=rounded(hidden[0][0].mean(0)),
                greedy_ids=greedy, greedy_text=tokenizer.decode(greedy), min_margin=margin)


def main(outdir):
    torch.set_num_threads(1)
    for name, c in CHECKPOINTS.items():
        folder = os.path.join(outdir, name)
        os.makedirs(folder, exist_ok=True)
        tokenizer = make_tokenizer(f'{folder}/tokenizer.json')
        model = GPTNeoXForCausalLM(config_of(c)).eval()
        randomize(model, c)
        save_checkpoint(model, c, folder, name)
        goldens = [golden_of(model, tokenizer, c, p) for p in PROMPTS]
        with open(f'{folder}/golden.json', 'w', encoding='utf-8') as f:
            f.write('[' + ',\n'.join(json.dumps(g, ensure_ascii=False) for g in goldens) + ']\n')
        print(name, sum(os.path.getsize(f'{folder}/{f}') for f in os.listdir(folder)), 'bytes',
              'smallest margin', min(g['min_margin'] for g in goldens))


if __name__ == '__main__':
    main(sys.argv[1])
