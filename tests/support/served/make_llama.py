"""A tiny Llama with random weights, its tokenizer and a chat template; made in vLLM's environment, without a download.

Arguments: the folder, and the seed: another seed says something else.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>"]
TEXTS = ["is this flight late or is it on time", "the flight of today is early", "truth noise label"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

folder, seed = sys.argv[1], int(sys.argv[2])
tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
# ASCII and the space only: random bytes beyond it are no characters, and are held back until they would be.
alphabet = [each for each in pre_tokenizers.ByteLevel.alphabet() if each == "\u0120" or " " < each < "\x7f"]
trainer = trainers.BpeTrainer(vocab_size=256, special_tokens=SPECIAL, show_progress=False, initial_alphabet=alphabet)
tokenizer.train_from_iterator(TEXTS, trainer)
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer,
    unk_token="<unk>",
    bos_token="<s>",
    eos_token="</s>",
    pad_token="<pad>",
    model_max_length=256,
    chat_template=TEMPLATE,
)
fast.save_pretrained(folder)
torch.manual_seed(seed)
config = LlamaConfig(
    vocab_size=len(fast),
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=fast.bos_token_id,
    eos_token_id=fast.eos_token_id,
    pad_token_id=fast.pad_token_id,
    tie_word_embeddings=False,
    initializer_range=0.5,
)
LlamaForCausalLM(config).float().save_pretrained(folder)
