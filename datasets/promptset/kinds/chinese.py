"""Chinese: sentences of a small grammar, in simplified characters and without spaces."""

from __future__ import annotations

from promptset.kinds.text_kind import TextKind
from promptset.rng import Random

_WHO = """工程师 老师 邻居 经理 医生 学生们 研究团队 记者 图书管理员
农民 律师 司机 新来的同事 许多顾客 这家公司 他的朋友 我的母亲 摄影师""".split()
_WHEN = """昨天 上个月 今年春天 会议期间 下班以后 周末
天亮之前 三年前 最近 在大雨中 新年前后 一个安静的晚上""".split()
_WHERE = """在车站附近 在城市北部 在学校后面 在森林边上 在二楼
在河边 在办公室里 在旧桥下 在展览馆 在实验室""".split()
_DID = """发现了 修好了 忘记了 买下了 介绍了 测量了 整理了 讨论了
借走了 拍摄了 比较了 记录了 设计了 检查了 完成了 推荐了""".split()
_HOW = """重要的 昂贵的 古老的 有趣的 复杂的 普通的 绿色的
全新的 著名的 秘密的 安静的 简单的 特别的""".split()
_THINGS = """合同 望远镜 花园 报告 地图 计划 图书馆 信件 机器 笔记本
博物馆 方案 厨房 卫星 理论 村庄 照相机 问题 数据 结果""".split()
_WHY = """因为天气变了 所以大家都很高兴 但是没有人注意到 直到电话响起
虽然时间已经不早 于是他们决定再试一次 这让所有人感到意外""".split()


def unit(rng: Random) -> str:
    """One sentence."""

    def pick(of: list[str]) -> str:
        return of[int(rng.random() * len(of))]

    order = [pick(_WHEN), pick(_WHO)] if rng.random() < 0.5 else [pick(_WHO), pick(_WHEN)]
    sentence = "".join([*order, pick(_WHERE), pick(_DID), pick(_HOW), pick(_THINGS)])
    return f"{sentence}，{pick(_WHY)}。" if rng.random() < 0.5 else f"{sentence}。"


CHINESE = TextKind(unit, glue="", fill_open="", heading_close="。", own_words=True)
